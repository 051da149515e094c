import { causalMask, type Operand, parametersOf } from '../operands.ts'
import { LEARNING_RATE, type Workload, type WorkloadOf } from '../workloads.ts'
import { classesOf, type Named, type Ops, oneHot, stepLoss } from './model.ts'
import type { OpenPeer, PeerRun } from './peer.ts'

/** The module of core, gradients and backend that run.mjs bundles: Node cannot load the gradients from the package. */
const MODULE = './tensorflow.js'

/** Opens TensorFlow.js on its WebGPU backend. */
export const openTfjs: OpenPeer = async () => {
  const tf = await import(MODULE)
  if (!(await tf.setBackend('webgpu'))) throw new Error('TensorFlow.js finds no WebGPU device')
  const backend = tf.backend()
  const device: GPUDevice = backend.device
  return {
    name: 'TensorFlow.js',
    device,
    prepare: async (w, operands) => (w.kind.endsWith('Step') ? prepareStep(tf, w, operands) : prepareOp(tf, w, operands)),
  }
}

function opsOf(tf: any): Ops<any> {
  const masks = new Map<number, any>()
  /** Returns the mask for a number of tokens, which is made once and stays. */
  const maskOf = (tokens: number) => {
    const mask = masks.get(tokens) ?? tf.keep(tf.tensor(causalMask(tokens), [tokens, tokens]))
    masks.set(tokens, mask)
    return mask
  }
  return {
    linear(x, weight, bias) {
      // TensorFlow.js is slow at the product of a stack and a matrix, but not at that of two matrices.
      const width = x.shape.at(-1)
      const product = tf.matMul(tf.reshape(x, [-1, width]), weight, false, true)
      const shaped = tf.reshape(product, [...x.shape.slice(0, -1), weight.shape[0]])
      return bias ? tf.add(shaped, bias) : shaped
    },
    layerNorm(x, weight, bias) {
      const { mean, variance } = tf.moments(x, -1, true)
      return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), weight), bias)
    },
    gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
    // The library computes on images [B, H, W, C] and kernels [3, 3, C, O].
    conv2d: (x, weight, bias) => tf.add(tf.conv2d(x, tf.transpose(weight, [2, 3, 1, 0]), 1, 'same'), bias),
    relu: (x) => tf.relu(x),
    add: (a, b) => tf.add(a, b),
    attention(q, k, v, causal) {
      const scores = tf.mul(tf.matMul(q, k, false, true), q.shape.at(-1) ** -0.5)
      return tf.matMul(tf.softmax(causal ? tf.add(scores, maskOf(q.shape.at(-2))) : scores), v)
    },
    reshape: (x, shape) => tf.reshape(x, shape),
    permute: (x, order) => tf.transpose(x, order),
    slice(x, dim, from, to) {
      const begin = x.shape.map((_: number, d: number) => (d === dim ? from : 0))
      return tf.slice(
        x,
        begin,
        x.shape.map((size: number, d: number) => (d === dim ? to - from : size)),
      )
    },
    concat: (parts, dim) => tf.concat(parts, dim),
    repeat: (x, times) => tf.tile(x, [times, ...x.shape.slice(1).map(() => 1)]),
    meanSquare: (x) => tf.mean(tf.square(x)),
    sumSquare: (x) => tf.sum(tf.square(x)),
    crossEntropy: (logits, labels) => tf.neg(tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), labels)), logits.shape[0])),
  }
}

/** Submits what is recorded, and waits for the device. */
function done(tf: any): Promise<void> {
  const backend = tf.backend()
  if (backend.commandEncoder) {
    backend.endComputePassEncoder()
    backend.submitQueue()
  }
  return backend.queue.onSubmittedWorkDone()
}

function prepareOp(tf: any, w: Workload, operands: Record<string, Operand>): PeerRun {
  const ops = opsOf(tf)
  const t: Record<string, any> = {}
  for (const [name, { data, shape }] of Object.entries(operands)) t[name] = tf.tensor(data, shape)
  const images = w.kind === 'conv2d'
  if (images) t.x = tf.tidy(() => tf.transpose(t.x, [0, 2, 3, 1]))
  const inOrder = (out: any) => (images ? tf.transpose(out, [0, 3, 1, 2]) : out)
  const functions: Partial<Record<Workload['kind'], () => any>> = {
    matmul: () => tf.matMul(t.a, t.b, w.kind === 'matmul' && w.form === 'TN', w.kind === 'matmul' && w.form === 'NT'),
    softmax: () => tf.softmax(t.x),
    layerNorm: () => ops.layerNorm(t.x, t['norm.weight'], t['norm.bias']),
    attention: () => ops.attention(t.q, t.k, t.v, w.kind === 'attention' && w.causal),
    maskedSoftmax: () => tf.softmax(tf.add(t.x, t.mask)),
    // The library's einsum multiplies element by element into a tensor [b, h, t, d, s], which is too large for a binding here.
    einsum: () => tf.matMul(t.q, t.k, false, true),
    topk: () => tf.topk(t.x, w.kind === 'topk' ? w.k : 1).values,
    // The library has no sort, but topk of all elements, the largest first.
    sort: () => tf.neg(tf.topk(tf.neg(t.x), w.kind === 'sort' ? w.n : 1).values),
    scatterAdd: () => tf.add(t.x, tf.scatterND(tf.expandDims(t.index, 1), t.src, t.x.shape)),
    conv2d: () => ops.conv2d(t.x, t['conv.weight'], t['conv.bias']),
    add: () => tf.add(t.a, t.b),
    addChain() {
      let sum = t.x
      for (let i = 0; i < (w as WorkloadOf<'addChain'>).ops; i++) sum = tf.add(sum, t.y)
      return sum
    },
    mulChain() {
      const { value, grad } = tf.valueAndGrad((x: any) => {
        let product = x
        for (let i = 0; i < (w as WorkloadOf<'mulChain'>).ops; i++) product = tf.mul(product, t.y)
        return product
      })(t.x, t.one)
      return tf.add(value, grad)
    },
  }
  const call = () => tf.tidy(functions[w.kind]!)
  let last: any
  return {
    run() {
      last?.dispose()
      last = call()
    },
    last: () => inOrder(last).data(),
    done: () => done(tf),
    async values() {
      const out = inOrder(call())
      const data = await out.data()
      out.dispose()
      return { out: data }
    },
    dispose() {
      for (const tensor of [last, ...Object.values(t)]) tensor?.dispose()
    },
  }
}

function prepareStep(tf: any, w: Workload, operands: Record<string, Operand>): PeerRun {
  const ops = opsOf(tf)
  const on = ({ data, shape }: Operand) => tf.tensor(data, shape)
  const data = operands.images ?? operands.x
  const given = data && on(data)
  const x = w.kind === 'convStep' ? tf.transpose(given, [0, 2, 3, 1]) : given
  const { labels } = operands
  const classes = classesOf(w)
  const hot = labels && tf.tensor(oneHot(labels.data, classes), [labels.shape[0], classes])
  const variables: Named<any> = {}
  for (const [name, operand] of Object.entries(parametersOf(operands))) variables[name] = tf.variable(on(operand))
  const list = Object.values(variables)
  const loss = () => stepLoss(ops, w, variables, x, hot)
  const optimizer = w.kind === 'modelStep' ? tf.train.adam(LEARNING_RATE) : tf.train.sgd(LEARNING_RATE)
  let last: any
  return {
    run() {
      last?.dispose()
      last = optimizer.minimize(loss, true, list)
    },
    last: () => last.data(),
    done: () => done(tf),
    async values() {
      const { value, grads } = tf.variableGrads(loss, list)
      const found: Record<string, ArrayLike<number>> = { loss: await value.data() }
      for (const [name, variable] of Object.entries(variables)) found[name] = await grads[variable.name].data()
      value.dispose()
      for (const gradient of Object.values(grads) as any[]) gradient.dispose()
      return found
    },
    dispose() {
      for (const tensor of [x, hot, last, ...list]) tensor?.dispose()
      optimizer.dispose()
    },
  }
}
