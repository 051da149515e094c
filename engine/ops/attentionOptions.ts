// The options that attention ops share: how they are checked, and what the kernels take of them.
import { dropoutProblem } from '../../kernels/random/index.ts'
import { castDetached } from '../autograd/cast.ts'
import { drawStream, type RandomDraw } from '../autograd/recomputation.ts'
import { checkBoolean } from '../base/checks.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkOptions } from '../base/options.ts'
import { format } from '../layout/shape.ts'
import { checkOptionalTensor } from '../tensor/arguments.ts'
import type { Bindable } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkProbability } from './dropout.ts'

/** The options of attention. */
export interface AttentionOptions {
  /** Whether query i sees keys 0 to i alone (aligned at the top left, also where there are more or fewer keys than queries). */
  causal?: boolean
  /**
   * A mask that broadcasts to [B, H, Tq, Tk] and needs no gradient. A float mask is added to the scaled scores, and -Infinity hides a key from a
   * query, as do numbers below -2.358e38. In an int32 mask 0 hides, and other numbers do nothing.
   */
  mask?: Tensor
  /** The probability with which each softmax weight becomes 0; the others grow by 1 / (1 - dropout). A model gives it in training only. */
  dropout?: number
  /** The factor of q k^T, by default 1 / sqrt(Dh). */
  scale?: number
}

const NAMES = { causal: true, mask: true, dropout: true, scale: true } as const

/** Options as an op takes them. */
export interface CheckedOptions {
  causal: boolean
  /** The probability of dropout and its random stream; undefined without dropout. */
  dropout: { p: number; draw: RandomDraw } | undefined
  scale: number | undefined
}

/** @throws ArgumentError for options of wrong kinds, and for a mask that requires a gradient */
export function checkAttentionOptions(op: string, options: AttentionOptions): void {
  checkOptions(op, options, NAMES)
  const { causal = false, mask, dropout = 0, scale = 1 } = options
  checkBoolean(op, causal, 'causal')
  checkOptionalTensor(op, mask, 'mask')
  checkProbability(op, dropout)
  if (!Number.isFinite(scale)) throw new ArgumentError(`${op}: got ${kindOf(scale)} as scale, takes a finite number`)
  if (mask?.requiresGrad)
    throw new ArgumentError(`${op}: got a mask that requires a gradient, takes one without; detach() gives it`)
}

/** @throws ShapeError unless a mask, if any, broadcasts to the scores [B, H, Tq, Tk] */
export function checkMask(op: string, mask: Tensor | undefined, scores: readonly number[]): void {
  if (!mask) return
  const lead = scores.length - mask.ndim
  if (lead >= 0 && mask.shape.every((size, d) => size === 1 || size === scores[lead + d])) return
  throw new ShapeError(`${op}: got a mask ${mask.dtype} ${format(mask.shape)}; takes one that broadcasts to ${format(scores)}`)
}

/** Draws the random stream of dropout, if there is any. */
export function drawOptions({ causal = false, dropout: p = 0, scale }: AttentionOptions, { device }: Tensor): CheckedOptions {
  return { causal, dropout: p > 0 ? { p, draw: drawStream(device.random) } : undefined, scale }
}

/** The options as parts of the kernels' problem. */
export function optionsOf({ causal, dropout }: CheckedOptions) {
  const drops = ({ p, draw }: NonNullable<typeof dropout>) => {
    const { threshold, scale: keepScale } = dropoutProblem(0, p, draw.words)
    return { threshold, keepScale }
  }
  return { ...(causal && { causal }), ...(dropout && drops(dropout)) }
}

/** Returns a mask of a dtype that the kernels take: float32 or int32. */
export function maskOf(mask: Tensor): Tensor {
  return mask.dtype === 'float16' ? castDetached(mask, 'float32') : mask
}

/** A mask as the kernels read it, where it lies: its memory, and the parts of the problem. @param scores [B, H, Tq, Tk] */
export function maskProblem(mask: Tensor, scores: readonly number[]): { bound: Bindable; problem: object } {
  const { layout, bound } = operand(mask, scores)
  const [batch, head, query, key] = layout.strides as [number, number, number, number]
  const masks = mask.dtype === 'int32' ? 'boolean' : 'additive'
  return { bound, problem: { masks, mask: [layout.offset, batch, head, query], maskStep: key } }
}
