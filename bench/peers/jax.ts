import { type Operand, parametersOf } from '../operands.ts'
import { LEARNING_RATE, type Workload, type WorkloadOf } from '../workloads.ts'
import { classesOf, type Named, type Ops, oneHot, stepLoss } from './model.ts'
import type { OpenPeer, PeerRun } from './peer.ts'

const PACKAGE = '@jax-js/jax'

/** An array of jax-js. Functions consume their arguments; `.ref` gives another reference, so that the array survives. */
interface Jax {
  ref: Jax
  [method: string]: any
}

/** Opens jax-js; every computation is compiled by its `jit`. */
export const openJax: OpenPeer = async () => {
  const jax = await import(PACKAGE)
  const backends: string[] = await jax.init('webgpu')
  if (!backends.includes('webgpu')) throw new Error('jax-js finds no WebGPU device')
  jax.defaultDevice('webgpu')
  const device: GPUDevice = jax.getWebGPUDevice()
  return {
    name: 'jax-js',
    device,
    prepare: async (w, operands) => prepare(jax, w, operands),
  }
}

/** Ops that do not consume their operands. Under `jit` they run once, while they are traced. */
function opsOf({ numpy: np, nn, lax }: any): Ops<Jax> {
  const layerNorm = (x: Jax, weight: Jax, bias: Jax): Jax => nn.standardize(x.ref, -1).mul(weight.ref).add(bias.ref)
  return {
    linear(x, weight, bias) {
      const product: Jax = np.matmul(x.ref, np.transpose(weight.ref))
      return bias ? product.add(bias.ref) : product
    },
    layerNorm,
    gelu: (x) => nn.gelu(x.ref, { approximate: false }),
    conv2d(x, weight, bias) {
      const padded = lax.convGeneralDilated(
        x.ref,
        weight.ref,
        [1, 1],
        [
          [1, 1],
          [1, 1],
        ],
      )
      return padded.add(bias.ref.reshape([1, -1, 1, 1]))
    },
    relu: (x) => nn.relu(x.ref),
    add: (a, b) => a.ref.add(b.ref),
    attention(q, k, v, causal) {
      const [tokens, width] = q.shape.slice(-2)
      const scores = np.matmul(q.ref, np.swapaxes(k.ref, -1, -2)).mul(width ** -0.5)
      const seen = causal ? np.where(np.tri(tokens, tokens, 0, { dtype: np.bool }), scores, Number.NEGATIVE_INFINITY) : scores
      return np.matmul(nn.softmax(seen, -1), v.ref)
    },
    reshape: (x, shape) => x.ref.reshape([...shape]),
    permute: (x, order) => np.transpose(x.ref, [...order]),
    slice: (x, dim, from, to) => x.ref.slice(...Array.from({ length: dim }, () => []), [from, to]),
    concat: (parts, dim) =>
      np.concatenate(
        parts.map((part) => part.ref),
        dim,
      ),
    repeat: (x, times) => np.broadcastTo(x.ref, [times, ...x.shape.slice(1)]),
    meanSquare: (x) => np.mean(np.square(x.ref)),
    sumSquare: (x) => np.sum(np.square(x.ref)),
    crossEntropy: (logits, labels) => np.sum(nn.logSoftmax(logits.ref, -1).mul(labels.ref)).mul(-1 / logits.shape[0]),
  }
}

function prepare(jax: any, w: Workload, operands: Record<string, Operand>): PeerRun {
  const { numpy: np } = jax
  const on = ({ data, shape }: Operand): Jax =>
    np.array(data instanceof Int32Array && w.kind !== 'scatterAdd' ? Float32Array.from(data) : data.slice()).reshape([...shape])
  return w.kind.endsWith('Step') ? prepareStep(jax, w, operands, on) : prepareOp(jax, w, operands, on)
}

function prepareOp(jax: any, w: Workload, operands: Record<string, Operand>, on: (operand: Operand) => Jax): PeerRun {
  const { numpy: np, nn, lax, jit, vjp } = jax
  const ops = opsOf(jax)
  const inputs = Object.values(operands).map(on)
  const swap = (x: Jax) => np.swapaxes(x, -1, -2)
  const functions: Partial<Record<Workload['kind'], (...inputs: Jax[]) => Jax>> = {
    matmul: (a, b) => {
      const form = w.kind === 'matmul' ? w.form : 'NN'
      return np.matmul(form === 'TN' ? swap(a!) : a, form === 'NT' ? swap(b!) : b)
    },
    softmax: (x) => nn.softmax(x, -1),
    layerNorm: (x, weight, bias) => nn.standardize(x, -1).mul(weight).add(bias),
    attention: (q, k, v) => ops.attention(q!, k!, v!, w.kind === 'attention' && w.causal),
    maskedSoftmax: (x, mask) => nn.softmax(x!.add(mask), -1),
    // Equations as text need a Node later than 20.
    einsum: (q, k) => np.einsum(q, [0, 1, 2, 3], k, [0, 1, 4, 3], [0, 1, 2, 4]),
    topk(x) {
      const [values, indices] = lax.topK(x, w.kind === 'topk' ? w.k : 1)
      indices.dispose()
      return values
    },
    sort: (x) => np.sort(x),
    // The library has no such function of its own: it adds at an index in the derivative of `take`.
    scatterAdd(x, index, src) {
      const [taken, back] = vjp((rows: Jax) => np.take(rows, index, 0), [np.zeros(x!.shape)])
      taken.dispose()
      const [sums] = back(src)
      return x!.add(sums)
    },
    conv2d: (x, weight, bias) => ops.conv2d(x!, weight!, bias!),
    add: (a, b) => a!.add(b),
    addChain(x, y) {
      let sum = x!
      for (let i = 0; i < (w as WorkloadOf<'addChain'>).ops; i++) sum = sum.add(y!.ref)
      y!.dispose()
      return sum
    },
    mulChain(x, y, one) {
      const [product, back] = vjp(
        (first: Jax) => {
          let product = first
          for (let i = 0; i < (w as WorkloadOf<'mulChain'>).ops; i++) product = product.mul(y!.ref)
          return product
        },
        [x],
      )
      const [gradient] = back(one)
      y!.dispose()
      return product.add(gradient)
    },
  }
  const eager = w.kind === 'addChain' || w.kind === 'mulChain'
  const compiled = eager ? functions[w.kind]! : jit(functions[w.kind]!)
  // Arrays are computed when something waits for them, so results are kept until then.
  let results: Jax[] = []
  let last: Jax | undefined
  const call = (): Jax => compiled(...inputs.map((input) => input.ref))
  return {
    run() {
      results.push(call())
    },
    async done() {
      await jax.blockUntilReady(results)
      last?.dispose()
      last = results.pop()
      for (const result of results) result.dispose()
      results = []
    },
    last: () => last!.ref.data(),
    values: async () => ({ out: await call().data() }),
    dispose() {
      for (const array of [last, ...inputs]) array?.dispose()
    },
  }
}

function prepareStep(jax: any, w: Workload, operands: Record<string, Operand>, on: (operand: Operand) => Jax): PeerRun {
  const { jit, valueAndGrad, numpy: np } = jax
  const ops = opsOf(jax)
  const names = Object.keys(parametersOf(operands))
  const given = operands.images ?? operands.x
  const x = given && on(given)
  const { labels } = operands
  const classes = classesOf(w)
  const hot = labels && on({ shape: [labels.shape[0]!, classes], data: oneHot(labels.data, classes) })
  const loss = (p: Named<Jax>, input?: Jax, target?: Jax) => stepLoss(ops, w, p, input, target)
  const withGradients = valueAndGrad(loss)
  const data = () => [...(x ? [x.ref] : []), ...(hot ? [hot.ref] : [])]
  const move = (p: Jax, g: Jax): Jax => p.ref.sub(g.ref.mul(LEARNING_RATE))
  const zeros = (like: Named<Jax>): Named<Jax> => mapNamed(like, (p) => np.zeros(p.shape))

  const gradients = jit((p: Named<Jax>, ...rest: Jax[]) => withGradients(p, ...rest))
  const sgd = jit((p: Named<Jax>, ...rest: Jax[]) => {
    const [value, g] = withGradients({ ...p }, ...rest)
    return [value, mapNamed(p, (parameter, name) => move(parameter, g[name]))]
  })
  const adam = jit((p: Named<Jax>, m: Named<Jax>, v: Named<Jax>, correction: Jax, ...rest: Jax[]) => {
    const [value, g] = withGradients({ ...p }, ...rest)
    const m2 = mapNamed(m, (moment, name) => moment.ref.mul(0.9).add(g[name].ref.mul(0.1)))
    const v2 = mapNamed(v, (moment, name) => moment.ref.mul(0.999).add(np.square(g[name].ref).mul(0.001)))
    const update = (name: string): Jax => m2[name]!.ref.div(np.sqrt(v2[name]!.ref).add(1e-8)).mul(correction.ref)
    return [value, mapNamed(p, (parameter, name) => parameter.ref.sub(update(name))), m2, v2]
  })

  let parameters: Named<Jax> = Object.fromEntries(names.map((name) => [name, on(operands[name]!)]))
  let moments: [Named<Jax>, Named<Jax>] | undefined =
    w.kind === 'modelStep' ? [zeros(parameters), zeros(parameters)] : undefined
  let steps = 0
  let value: Jax | undefined
  const kept = () => mapNamed(parameters, (parameter) => parameter.ref)
  return {
    run() {
      value?.dispose()
      if (moments) {
        steps++
        const scale = (LEARNING_RATE * Math.sqrt(1 - 0.999 ** steps)) / (1 - 0.9 ** steps)
        const results = adam(parameters, ...moments, np.array(scale), ...data())
        value = results[0]
        parameters = results[1]
        moments = [results[2], results[3]]
      } else {
        const results = sgd(parameters, ...data())
        value = results[0]
        parameters = results[1]
      }
    },
    last: () => value!.ref.data(),
    done: () => jax.blockUntilReady([value, parameters, moments]),
    async values() {
      const [loss, g] = gradients(kept(), ...data())
      const found: Record<string, ArrayLike<number>> = { loss: await loss.data() }
      for (const name of names) found[name] = await g[name].data()
      return found
    },
    dispose() {
      for (const array of [x, hot, value, ...Object.values(parameters)]) array?.dispose()
      for (const named of moments ?? []) for (const moment of Object.values(named)) moment.dispose()
    },
  }
}

function mapNamed(named: Named<Jax>, f: (value: Jax, name: string) => Jax): Named<Jax> {
  return Object.fromEntries(Object.entries(named).map(([name, value]) => [name, f(value, name)]))
}
