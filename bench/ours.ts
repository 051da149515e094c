import { zeroGrad } from '../engine/autograd/backward.ts'
import {
  broadcastTo,
  conv2d,
  crossEntropy,
  type Device,
  einsum,
  layerNorm,
  matmul,
  mlp,
  scaledDotProductAttention,
  scatterAdd,
  scope,
  softmax,
  sort,
  type Tensor,
  tensor,
  topk,
  zeros,
} from '../engine/index.ts'
import { Module, ParaFormer, parameter } from '../model/index.ts'
import { EncoderLayer, Linear } from '../model/layers.ts'
import { AdamW } from '../train/index.ts'
import { type Operand, parametersOf } from './operands.ts'
import type { Outputs } from './outputs.ts'
import { operationsOf } from './replayed.ts'
import { Training } from './training.ts'
import type { Workload, WorkloadOf } from './workloads.ts'

/** A workload whose operands lie on the device. */
export interface OurRun {
  /** Records one run. @returns the output of an op, or the loss before the update of a step */
  record(): Outputs
  /** Records the same run op by op, without a replay; for an op it is `record`. */
  ops(): Outputs
  /** Floating-point operations that a run executes, by the cost models of its kernels; known after a run. */
  executed(): number
  /** Values by name: `out` of an op; of a step `loss`, and each parameter's gradient by its name, without an update. */
  values(): Promise<Record<string, ArrayLike<number>>>
  /** The training of a step; undefined for an op. */
  training?: Training
  dispose(): void
}

/** Puts the operands of a workload on a device, which must be the default one. */
export function prepareOurs(device: Device, w: Workload, operands: Record<string, Operand>): OurRun {
  const on = ({ data, shape }: Operand) => tensor(data, { shape, device })
  switch (w.kind) {
    case 'matmul': {
      const last = w.batch > 1 ? 2 : 1
      const swap = (t: Tensor) => t.transpose(last, last - 1)
      const [a, b] = [on(operands.a!), on(operands.b!)]
      return prepareOp([a, b], () => matmul(w.form === 'TN' ? swap(a) : a, w.form === 'NT' ? swap(b) : b))
    }
    case 'softmax': {
      const x = on(operands.x!)
      return prepareOp([x], () => softmax(x, -1))
    }
    case 'layerNorm': {
      const [x, weight, bias] = [on(operands.x!), on(operands['norm.weight']!), on(operands['norm.bias']!)]
      return prepareOp([x, weight, bias], () => layerNorm(x, weight, bias))
    }
    case 'attention': {
      const [q, k, v] = [on(operands.q!), on(operands.k!), on(operands.v!)]
      return prepareOp([q, k, v], () => scaledDotProductAttention(q, k, v, { causal: w.causal === true }))
    }
    case 'maskedSoftmax': {
      const [x, mask] = [on(operands.x!), on(operands.mask!)]
      return prepareOp([x, mask], () => softmax(x.add(mask), -1))
    }
    case 'einsum': {
      const [q, k] = [on(operands.q!), on(operands.k!)]
      return prepareOp([q, k], () => einsum('bhtd,bhsd->bhts', q, k))
    }
    case 'topk': {
      const x = on(operands.x!)
      return prepareOp([x], () => topk(x, w.k)[0])
    }
    case 'sort': {
      const x = on(operands.x!)
      return prepareOp([x], () => sort(x)[0])
    }
    case 'scatterAdd': {
      const [x, index, src] = [on(operands.x!), on(operands.index!), on(operands.src!)]
      return prepareOp([x, index, src], () =>
        scatterAdd(x, 0, broadcastTo(index.reshape([w.count, 1]), [w.count, w.width]), src),
      )
    }
    case 'conv2d': {
      const [x, weight, bias] = [on(operands.x!), on(operands['conv.weight']!), on(operands['conv.bias']!)]
      return prepareOp([x, weight, bias], () => conv2d(x, weight, bias, { padding: 1 }))
    }
    case 'add': {
      const [a, b] = [on(operands.a!), on(operands.b!)]
      return prepareOp([a, b], () => a.add(b))
    }
    case 'addChain': {
      const [x, y] = [on(operands.x!), on(operands.y!)]
      return prepareOp([x, y], () => {
        let sum = x
        for (let i = 0; i < w.ops; i++) sum = sum.add(y)
        return sum
      })
    }
    case 'mulChain': {
      const [x, y, one] = [on(operands.x!), on(operands.y!), on(operands.one!)]
      x.requiresGrad = true
      return prepareOp([x, y, one], () => {
        let product = x
        for (let i = 0; i < w.ops; i++) product = product.mul(y)
        product.backward(one)
        const sum = product.detach().add(x.grad!)
        zeroGrad([x])
        return sum
      })
    }
    default:
      return prepareStep(w, operands, on)
  }
}

type StepKind = 'mlpStep' | 'convStep' | 'attentionStep' | 'blockStep' | 'modelStep'

function prepareOp(operands: readonly Tensor[], op: () => Tensor): OurRun {
  const record = (): Outputs => [scope(op)]
  return {
    record,
    ops: record,
    executed: () => operationsOf(op),
    async values() {
      const out = scope(op)
      const data = await out.data()
      out.dispose()
      return { out: data }
    },
    dispose() {
      for (const operand of operands) operand.dispose()
    },
  }
}

/** Two linear layers with GELU between them. */
class TwoLayers extends Module {
  readonly fc1: Linear
  readonly fc2: Linear

  constructor({ inputs, hidden, classes }: WorkloadOf<'mlpStep'>) {
    super()
    this.fc1 = new Linear(inputs, hidden)
    this.fc2 = new Linear(hidden, classes)
  }

  /** [B, inputs] -> [B, classes] */
  forward(x: Tensor): Tensor {
    const { fc1, fc2 } = this
    return mlp(x, fc1.weight, fc1.bias!, fc2.weight, fc2.bias!)
  }
}

/** A convolution of 3 x 3 elements, padded by 1. */
class Convolution extends Module {
  readonly weight: Tensor
  readonly bias: Tensor

  constructor(channels: number) {
    super()
    this.weight = parameter(() => zeros([channels, channels, 3, 3]))
    this.bias = parameter(() => zeros([channels]))
  }

  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, { padding: 1 })
  }
}

/** Two convolutions with a ReLU between them. */
class TwoConvolutions extends Module {
  readonly conv1: Convolution
  readonly conv2: Convolution

  constructor({ channels }: WorkloadOf<'convStep'>) {
    super()
    this.conv1 = new Convolution(channels)
    this.conv2 = new Convolution(channels)
  }

  forward(x: Tensor): Tensor {
    return this.conv2.forward(this.conv1.forward(x).relu())
  }
}

/** The operands of causal attention as parameters. */
class Attended extends Module {
  readonly q: Tensor
  readonly k: Tensor
  readonly v: Tensor

  constructor({ batch, heads, tokens, width }: WorkloadOf<'attentionStep'>) {
    super()
    const shape = [batch, heads, tokens, width]
    this.q = parameter(() => zeros(shape))
    this.k = parameter(() => zeros(shape))
    this.v = parameter(() => zeros(shape))
  }

  forward(): Tensor {
    return scaledDotProductAttention(this.q, this.k, this.v, { causal: true })
  }
}

function prepareStep(w: WorkloadOf<StepKind>, operands: Record<string, Operand>, on: (operand: Operand) => Tensor): OurRun {
  const data = operands.images ?? operands.x
  const input = data && on(data)
  const labels = operands.labels && on(operands.labels)
  const { module, loss } = model(w, input, labels)
  const entries = Object.entries(parametersOf(operands)).map(([name, operand]) => [name, { dtype: 'F32', ...operand }] as const)
  module.loadStateDict(Object.fromEntries(entries))
  const parameters = module.namedParameters()
  const adam = w.kind === 'modelStep' ? { optimizer: new AdamW(parameters, { weightDecay: 0 }) } : {}
  const training = new Training({ parameters, loss, ...adam })
  return {
    ...training.run,
    training,
    async values() {
      const { loss, gradients } = await training.gradients()
      return { loss: [loss], ...gradients }
    },
    dispose() {
      training.dispose()
      input?.dispose()
      labels?.dispose()
    },
  }
}

function model(
  w: WorkloadOf<StepKind>,
  input: Tensor | undefined,
  labels: Tensor | undefined,
): { module: Module; loss(): Tensor } {
  if (w.kind === 'attentionStep') {
    const module = new Attended(w)
    const squares = (t: Tensor) => t.mul(t).sum()
    return { module, loss: () => squares(module.forward()) }
  }
  const meanSquare = (t: Tensor) => t.mul(t).mean()
  if (w.kind === 'convStep') {
    const module = new TwoConvolutions(w)
    return { module, loss: () => meanSquare(module.forward(input!)) }
  }
  if (w.kind === 'blockStep') {
    const { dim, heads, mlp } = w
    const module = new EncoderLayer({ dim, heads, dimHead: dim / heads, mlpDim: mlp, residual: 'preNorm' })
    return { module, loss: () => meanSquare(module.forward(input!)) }
  }
  const module = w.kind === 'mlpStep' ? new TwoLayers(w) : new ParaFormer(w.config)
  const forward = (x: Tensor) => (module instanceof ParaFormer ? module.forward(x, { mode: 'coalesced' }) : module.forward(x))
  return { module, loss: () => crossEntropy(forward(input!), labels!) }
}
