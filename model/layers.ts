import { checkBoolean, checkNoMore, checkWhole, refusal } from '../engine/base/checks.ts'
import { checkOptions } from '../engine/base/options.ts'
import type { AttentionOptions, LinearOptions, Tensor } from '../engine/index.ts'
import {
  firstTokenAttention,
  layerNorm,
  linear,
  mlp,
  ones,
  packedAttention,
  rand,
  scaledDotProductAttention,
  scope,
  zeros,
} from '../engine/index.ts'
import { checkEps } from '../engine/ops/normRows.ts'
import type { Residual } from './config.ts'
import { Module, type Parameter, parameter } from './module.ts'

/** Receives every intermediate value of a forward pass with its name, such as `branches.0.layers.1.attention`. */
export type Tap = (name: string, value: Tensor) => void

/** Makes a tap that puts `prefix` before the names it is called with. */
export function under(tap: Tap | undefined, prefix: string): Tap | undefined {
  return tap && ((name, value) => tap(`${prefix}.${name}`, value))
}

/** Frees the intermediate values of `fn`; with a tap they live as long as the caller's scope. */
export function tidy<T>(tap: Tap | undefined, fn: () => T): T {
  return tap ? fn() : scope(fn)
}

/** y = x W^T + b, weight [outputs, inputs]. It starts as PyTorch's: weight and bias are uniform in ±1 / sqrt(inputs). */
export class Linear extends Module {
  weight: Parameter
  bias: Parameter | undefined

  constructor(inputs: number, outputs: number, options: { bias?: boolean } = {}, ...extra: []) {
    super()
    checkNoMore('Linear', extra)
    checkSizes('Linear', { inputs, outputs })
    checkOptions('Linear', options, { bias: true })
    const { bias = true } = options
    checkBoolean('Linear', bias, 'bias')
    const bound = 1 / Math.sqrt(inputs)
    this.weight = uniform([outputs, inputs], bound)
    this.bias = bias ? uniform([outputs], bound) : undefined
  }

  /** [..., inputs] -> [..., outputs] */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    return linear(x, this.weight, this.bias, options)
  }
}

/** Normalises rows to mean 0 and variance 1, then scales and shifts every column. */
export class LayerNorm extends Module {
  weight: Parameter
  bias: Parameter
  readonly eps: number

  constructor(dim: number, eps = 1e-5, ...extra: []) {
    super()
    checkNoMore('LayerNorm', extra)
    checkSizes('LayerNorm', { dim })
    checkEps('LayerNorm', eps)
    this.eps = eps
    this.weight = parameter(() => ones([dim]))
    this.bias = parameter(() => zeros([dim]))
  }

  /** [..., D] -> [..., D] */
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps)
  }
}

/** Multi-head self-attention: queries, keys and values from one projection, without bias unless `qkvBias`, an output projection with bias. */
export class Attention extends Module {
  /** The rows of the weight, and the elements of the bias, are the blocks q, k, v; inside a block the order is (head, position in head). */
  readonly qkv: Linear
  readonly out: Linear
  readonly heads: number

  constructor(dim: number, heads: number, dimHead: number, options: { qkvBias?: boolean } = {}) {
    super()
    checkSizes('Attention', { dim, heads, dimHead })
    checkOptions('Attention', options, { qkvBias: true })
    const { qkvBias = false } = options
    checkBoolean('Attention', qkvBias, 'qkvBias')
    this.heads = heads
    this.qkv = new Linear(dim, 3 * heads * dimHead, { bias: qkvBias })
    this.out = new Linear(heads * dimHead, dim)
  }

  /**
   * Returns Attn(u) + residual; all three are [B, N, D].
   * @param options those of `packedAttention`, such as `causal` and a mask that broadcasts to [B, H, N, N]
   */
  forward(u: Tensor, residual: Tensor, tap?: Tap, options: AttentionOptions = {}): Tensor {
    const qkv = this.qkv.forward(u) // [B, N, 3 * H * Dh]
    const values = packedAttention(qkv, this.heads, options) // [B, N, H * Dh]
    tap?.('values', values)
    return this.out.forward(values, { residual }) // [B, N, D]
  }

  /** Computes the CLS row of `forward` alone, [B, 1, D]: its query attends to the keys and values of all tokens. */
  forwardCls(u: Tensor, residual: Tensor, tap?: Tap): Tensor {
    const { weight, bias } = this.qkv
    const values = bias ? this.#clsValues(u, bias) : firstTokenAttention(u, weight, this.heads) // [B, 1, H * Dh]
    tap?.('values', values)
    return this.out.forward(values, { residual: clsRow(residual) }) // [B, 1, D]
  }

  /** The values that the CLS token's query gathers, where the projection has a bias. */
  #clsValues(u: Tensor, bias: Tensor): Tensor {
    const [B, N] = u.shape as [number, number, number]
    const inner = bias.size / 3
    const H = this.heads
    const project = (x: Tensor, block: readonly [number, number]) =>
      linear(x, this.qkv.weight.slice([block]), bias.slice([block]))
        .reshape([B, x.shape[1]!, -1, H, inner / H]) // [B, 1 or N, blocks, H, Dh]
        .permute([2, 0, 3, 1, 4]) // [blocks, B, H, 1 or N, Dh]
    const q = project(clsRow(u), [0, inner]).reshape([B, H, 1, inner / H])
    const kv = project(u, [inner, 3 * inner])
    const [k, v] = [0, 1].map((i) => kv.slice([[i, i + 1]]).reshape([B, H, N, inner / H])) as [Tensor, Tensor]
    return scaledDotProductAttention(q, k, v).reshape([B, 1, inner])
  }
}

/** Two linear layers with a GELU (the erf form) between them. */
export class Mlp extends Module {
  readonly fc1: Linear
  readonly fc2: Linear

  constructor(dim: number, hidden: number, ...extra: []) {
    super()
    checkNoMore('Mlp', extra)
    checkSizes('Mlp', { dim, hidden })
    this.fc1 = new Linear(dim, hidden)
    this.fc2 = new Linear(hidden, dim)
  }

  /** Returns Mlp(v) + residual; all three are [B, N, D]. */
  forward(v: Tensor, residual: Tensor): Tensor {
    const { fc1, fc2 } = this
    return mlp(v, fc1.weight, fc1.bias!, fc2.weight, fc2.bias!, residual)
  }
}

/** Sizes and residual form of an encoder layer, all of which a model config has. */
export interface LayerConfig {
  dim: number
  heads: number
  dimHead: number
  mlpDim: number
  residual: Residual
  qkvBias?: boolean
  normEps?: number
}

/**
 * Attention, then MLP, each after a LayerNorm and with a residual, which is the normalised input (`paper`) or the input itself
 * (`preNorm`).
 */
export class EncoderLayer extends Module {
  readonly norm1: LayerNorm
  readonly attention: Attention
  readonly norm2: LayerNorm
  readonly mlp: Mlp
  readonly residual: Residual

  /** @throws ArgumentError unless `config` has all sizes and a residual form */
  constructor(config: LayerConfig) {
    super()
    if (typeof config !== 'object' || config === null) throw refusal('EncoderLayer', config, 'a model config', 'config')
    const { dim, heads, dimHead, mlpDim, residual, qkvBias = false, normEps } = config
    checkSizes('EncoderLayer', { dim, heads, dimHead, mlpDim })
    if (residual !== 'paper' && residual !== 'preNorm')
      throw refusal('EncoderLayer', residual, "'paper' or 'preNorm'", 'residual')
    this.residual = residual
    this.norm1 = new LayerNorm(dim, normEps)
    this.attention = new Attention(dim, heads, dimHead, { qkvBias })
    this.norm2 = new LayerNorm(dim, normEps)
    this.mlp = new Mlp(dim, mlpDim)
  }

  /**
   * [B, N, D] -> [B, N, D]; with `clsOnly` [B, 1, D], the CLS row of the same result for a fraction of the work.
   * Taps: `norm1`, `attention.values` (heads side by side, before the output projection), `attention` and `mlp` (with their
   * residuals), `norm2`.
   */
  forward(x: Tensor, { clsOnly = false, tap }: { clsOnly?: boolean; tap?: Tap | undefined } = {}): Tensor {
    const paper = this.residual === 'paper'
    const u = this.norm1.forward(x) // [B, N, D]
    tap?.('norm1', u)
    const attend = clsOnly ? this.attention.forwardCls : this.attention.forward
    const y = attend.call(this.attention, u, paper ? u : x, under(tap, 'attention')) // [B, N or 1, D]
    tap?.('attention', y)
    const v = this.norm2.forward(y) // [B, N or 1, D]
    tap?.('norm2', v)
    const z = this.mlp.forward(v, paper ? v : y) // [B, N or 1, D]
    tap?.('mlp', z)
    return z
  }
}

/** Returns the CLS token as a view: [B, N, D] -> [B, 1, D]. */
export function clsRow(x: Tensor): Tensor {
  return x.slice([[], [0, 1]])
}

/** @throws ArgumentError unless every size is a whole number of at least 1 */
export function checkSizes(layer: string, sizes: Record<string, number>): void {
  for (const [name, size] of Object.entries(sizes)) checkWhole(layer, size, name)
}

/** Makes a parameter whose values are uniform in ±bound. */
export function uniform(shape: number[], bound: number): Parameter {
  return parameter(() =>
    rand(shape)
      .mul(2 * bound)
      .sub(bound),
  )
}
