import {
  avgPool2d,
  batchNorm,
  bceWithLogits,
  bernoulli,
  concat,
  conv2d,
  crossEntropy,
  type Device,
  dropout,
  embedding,
  type ForkMode,
  fromHost,
  full,
  groupNorm,
  klDiv,
  layerNorm,
  linear,
  maxPool2d,
  mlp,
  mseLoss,
  ones,
  packedAttention,
  randn,
  rmsNorm,
  scaledDotProductAttention,
  stack,
  type Tensor,
  tensor,
  where,
} from '../../engine/index.ts'

/** Last dim of most values, and of the parameters. */
export const WIDTH = 8
export const VOCABULARY = 5
/** Largest number of elements of a value. */
const LARGEST = 8192

/** Parameters of one branch, or of the steps outside branches. */
export interface Weights {
  square: Tensor // [WIDTH, WIDTH]
  bias: Tensor // [WIDTH]
  scale: Tensor // [WIDTH]
  qkv: Tensor // [3 WIDTH, WIDTH]
  /** A plain tensor that programs read and overwrite in place, [WIDTH]. */
  note: Tensor
}

/** The values and settings that programs use besides their inputs. */
export interface World {
  device: Device
  /** Mode of forks; `mixed` draws one for each fork. */
  mode: ForkMode | 'mixed'
  /** Whether products and attention compute in float16. */
  half: boolean
  branches: readonly Weights[]
  shared: Weights
  table: Tensor // [VOCABULARY, WIDTH]
  /** Gives a host value [1], another one in each call. */
  fromHost: () => Float32Array
}

/** The inputs of a program. */
export interface Inputs {
  x: Tensor // [N, T, WIDTH], any strides
  ids: Tensor // int32 [N, T]
  labels: Tensor // int32 [N]
}

type Random = () => number

/**
 * The values of a program so far. Each step takes some of them and makes another; steps keep values small and well conditioned.
 */
export class Steps {
  readonly random: Random
  readonly world: World
  readonly inputs: Inputs
  readonly values: Tensor[]
  readonly weights: Weights
  /** Whether these steps alone use the weights, so that they may overwrite the note. */
  readonly #writes: boolean

  constructor(random: Random, world: World, inputs: Inputs, values: readonly Tensor[], weights: Weights, writes: boolean) {
    this.random = random
    this.world = world
    this.inputs = inputs
    this.values = [...values]
    this.weights = weights
    this.#writes = writes
  }

  /** A random integer from 0 to n - 1. */
  below(n: number): number {
    return Math.floor(this.random() * n)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** A random one of the values. */
  any(): Tensor {
    return this.pick(this.values)
  }

  /** A random value whose last dim fits the parameters. */
  #wide(): Tensor {
    const fitting = this.values.filter((t) => t.ndim >= 2 && t.shape.at(-1) === WIDTH)
    return fitting.length > 0 ? this.pick(fitting) : this.inputs.x
  }

  #dim(t: Tensor): number {
    return this.below(t.ndim) - this.below(2) * t.ndim
  }

  /** Takes steps, each of which adds a value. */
  take(count: number): void {
    for (let i = 0; i < count; i++) {
      const step = this.#step()
      const made = step.dtype === 'float16' ? step.cast('float32') : step
      if (made.size <= LARGEST && made.ndim <= 4) this.values.push(made)
    }
  }

  #step(): Tensor {
    const a = this.any()
    const steps: (() => Tensor)[] = [
      () => this.#unary(a),
      () => this.#binary(a),
      () => this.#binary(a),
      () => this.#reduction(a),
      () => this.#view(a),
      () => this.#view(a),
      () => this.#joined(a),
      () => this.#product(),
      () => this.#product(),
      () => this.#normalized(),
      () => this.#attention(),
      () => this.#image(a),
      () => dropout(a, this.pick([0, 0.3, 0.5])),
      () => embedding(this.world.table, this.inputs.ids),
      () => this.#constant(a),
      () => this.#inPlace(a),
      () => this.#selected(a),
    ]
    return this.pick(steps)()
  }

  #unary(a: Tensor): Tensor {
    const ops: (() => Tensor)[] = [
      () => a.tanh(),
      () => a.sigmoid(),
      () => a.gelu(),
      () => a.relu().add(0.1),
      () => a.neg(),
      () => a.tanh().exp(),
      () => a.mul(a).add(1).log(),
      () => a.mul(a).add(1).sqrt(),
      () => a.tanh().pow(2),
      () => a.sin().add(a.cos()),
      () => a.silu().abs().log1p(),
      () => a.leakyRelu(0.2).clamp(-1.5, 2),
      () => a.erf().expm1(),
      () => a.round().add(a.mul(0.5)),
    ]
    return this.pick(ops)()
  }

  #binary(a: Tensor): Tensor {
    const fitting = this.values.filter((t) => broadcasts(t.shape, a.shape))
    const b = this.random() < 0.8 && fitting.length > 0 ? this.pick(fitting) : this.random() + 0.5
    const square = typeof b === 'number' ? b * b : b.mul(b)
    const ops: (() => Tensor)[] = [
      () => a.add(b),
      () => a.sub(b),
      () => a.mul(b).tanh(),
      () => (typeof b === 'number' ? a.maximum(b) : a.minimum(b)),
      () => a.lerp(b, 0.25),
      () => a.div(typeof square === 'number' ? square + 1 : square.add(1)),
    ]
    return this.pick(ops)()
  }

  #reduction(a: Tensor): Tensor {
    if (a.ndim === 0) return a.mul(0.5)
    const dim = this.#dim(a)
    const keepdim = this.random() < 0.6
    const ops: (() => Tensor)[] = [
      () => a.sum(dim, keepdim).tanh(),
      () => a.mean(dim, keepdim),
      () => a.max(dim, keepdim),
      () => a.softmax(dim),
      () => a.logSoftmax(dim).tanh(),
      () => a.cumsum(dim).tanh(),
      () => a.min(dim, keepdim),
      () => a.variance(dim, { correction: 0, keepdim }).tanh(),
      () => a.logsumexp(dim, keepdim).tanh(),
      () => a.tanh().sort(dim)[0],
      () => a.topk(1, dim)[0].tanh(),
      () => a.gather(dim, a.argsort(dim)).tanh(),
      () => a.scatterAdd(dim, a.argmax(dim, true), a.mean(dim, true)),
      () => a.mean(),
    ]
    return this.pick(ops)()
  }

  transposed(t: Tensor): Tensor {
    return t.ndim < 2 ? t : t.transpose(0, -1)
  }

  #view(a: Tensor): Tensor {
    if (a.ndim === 0) return a.reshape([1])
    const ops: (() => Tensor)[] = [
      () => {
        const dim = this.below(a.ndim)
        const start = this.below(a.shape[dim]!)
        const stop = start + 1 + this.below(a.shape[dim]! - start)
        return a.slice(a.shape.map((_, d) => (d === dim ? [start, stop] : [])))
      },
      () => this.transposed(a),
      () => a.flip(this.#dim(a)),
      () => a.roll(1, this.#dim(a)),
      () => a.slice(a.shape.map((_, d) => (d === 0 ? [undefined, undefined, 2] : []))),
      () => a.permute([...a.shape.keys()].map((d) => (d + 1) % a.ndim)),
      () => a.reshape([-1]),
      () => a.reshape([...a.shape.slice(0, -1), 1, a.shape.at(-1)!]),
      () => a.detach(),
    ]
    return this.pick(ops)()
  }

  #joined(a: Tensor): Tensor {
    const alike = this.values.filter((t) => `${t.shape}` === `${a.shape}`)
    const parts = Array.from({ length: 2 + this.below(2) }, () => this.pick(alike))
    return a.ndim === 0 || this.random() < 0.4 ? stack(parts, -1 - this.below(a.ndim + 1)) : concat(parts, this.below(a.ndim))
  }

  #product(): Tensor {
    const x = this.#wide()
    const { square, bias } = this.weights
    const ops: (() => Tensor)[] = [
      () => linear(x, square, bias, { gelu: true }),
      () => linear(x, square, bias, { residual: x }).tanh(),
      () => linear(x, square, bias, { dropout: 0.25, residual: x }),
      () => mlp(x, square, bias, square.transpose(0, 1), bias, x),
      () => linear(x, square),
      () => x.matmul(square).tanh(),
      () => x.matmul(x.transpose(-1, -2)).tanh(),
      () => linear(x, square.transpose(0, 1), bias, { gelu: true, residual: bias }),
    ]
    return this.pick(ops)()
  }

  #normalized(): Tensor {
    const x = this.#wide()
    const { scale, bias } = this.weights
    const weight = this.random() < 0.8 ? scale : scale.mul(2).detach()
    return this.random() < 0.5 ? layerNorm(x, weight, bias, 0.1) : rmsNorm(x, weight, 0.1)
  }

  #attention(): Tensor {
    const { x } = this.inputs
    const rows = this.values.find((t) => t.ndim === 3 && t.shape.at(-1) === WIDTH) ?? x // [N, T, WIDTH]
    if (this.random() < 0.5) return packedAttention(linear(rows, this.weights.qkv), 2)
    const [n, t] = rows.shape as [number, number]
    const heads = rows.reshape([n, t, 2, WIDTH / 2]).permute([0, 2, 1, 3]) // [N, 2, T, WIDTH / 2]
    return scaledDotProductAttention(heads, heads.mul(0.5), heads.add(0.1)).transpose(1, 2).reshape([n, t, WIDTH])
  }

  /** A step on values as images [1, C, H, W], or a loss. */
  #image(a: Tensor): Tensor {
    const rows = a.ndim > 0 ? a.reshape([-1, a.shape.at(-1)!]) : a.reshape([1, 1])
    const image = rows.reshape([1, 1, ...rows.shape])
    const { square, scale, bias } = this.weights
    const kernel = square.reshape([2, 1, 4, 8]).slice([[], [], [0, 3], [0, 3]])
    const planes = this.#wide().reshape([-1, WIDTH, 1])
    const options = { padding: this.below(2) + 1, stride: this.below(2) + 1 }
    const ops: (() => Tensor)[] = [
      () => conv2d(image, kernel, undefined, options).tanh(),
      () => maxPool2d(image, 2, { padding: 1 }),
      () => avgPool2d(image, 3, { stride: 1, padding: 1 }),
      () => groupNorm(planes, 2, scale, bias, 0.1),
      () => (planes.shape[0]! > 1 ? batchNorm(planes, scale, bias, { eps: 0.1 }) : planes),
      () => mseLoss(a, a.mul(0.5).detach(), { reduction: 'none' }).tanh(),
      () => bceWithLogits(a, a.sigmoid()),
      () => klDiv(a.tanh(), a.sigmoid(), { reduction: 'none' }),
      () => a.mul(bernoulli(full(a.shape, 0.7))),
    ]
    return this.pick(ops)()
  }

  /** A step with a value of the host, a constant or random numbers. */
  #constant(a: Tensor): Tensor {
    const ops: (() => Tensor)[] = [
      () => a.mul(fromHost(this.world.fromHost, [1])),
      () => a.add(tensor([0.25])),
      () => {
        const written = tensor([0.25])
        const before = a.add(written)
        written.write(Float32Array.of(0.5))
        return before.add(written)
      },
      () => a.mul(ones([1])),
      () => a.add(randn(a.shape).mul(0.1)),
      () => a.add(fromHost(this.world.fromHost, [1]).sum()),
    ]
    return this.pick(ops)()
  }

  /** Reads a tensor before and after it is overwritten. */
  #inPlace(a: Tensor): Tensor {
    const { note } = this.weights
    const before = this.random() < 0.5 ? note.mul(1) : a.mul(note.sum())
    // Branches must not write a tensor that they share, since they have no order.
    if (!this.#writes) return before.mean().add(a)
    note.write(new Float32Array(WIDTH).fill(this.random()))
    return a.add(note.mean()).add(before.mean())
  }

  #selected(a: Tensor): Tensor {
    if (a.ndim === 0) return where(this.inputs.labels, a, 0.5)
    const dim = this.#dim(a)
    return where(this.random() < 0.5 ? a.argmax(dim, true) : a.gt(0.1), a, a.mul(0.5))
  }

  crossEntropy(): Tensor {
    const rows = this.values.filter((t) => t.ndim === 3 && t.shape[0] === this.inputs.labels.size && t.shape.at(-1) === WIDTH)
    return crossEntropy((rows.at(-1) ?? this.inputs.x).slice([[], [0, 1]]).reshape([-1, WIDTH]), this.inputs.labels).mul(1)
  }
}

function broadcasts(from: readonly number[], to: readonly number[]): boolean {
  const lead = to.length - from.length
  return lead >= 0 && from.every((size, d) => size === 1 || size === to[lead + d])
}
