import { checkBoolean, checkNoMore, checkNumber } from '../base/checks.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { div, mul, sub } from './elementwise.ts'
import { checkFloats, defineFold, foldDims, keptShape } from './fold.ts'
import { mean } from './reduce.ts'
import { lengthOf, type ReduceDims } from './reduceDims.ts'
import { reshape } from './shape.ts'
import { where } from './where.ts'

export interface VarianceOptions {
  /** The divisor is the number of elements minus this; default 1. */
  correction?: number
  /** Whether reduced dims stay, with size 1; default false. */
  keepdim?: boolean
}

const OPTIONS: OptionNames<VarianceOptions> = { correction: true, keepdim: true }

/** The elements less their mean over the dims of a pass. */
function centered(x: Tensor, { start, end }: ReduceDims): Tensor {
  if (start === end) return sub(x, x)
  return sub(
    x,
    mean(
      x,
      Array.from({ length: end - start }, (_, i) => start + i),
      true,
    ),
  )
}

const varianceOp = defineFold('variance', 'moments', {
  derivative: (ctx, grad, { pass, scale }) => mul(centered(ctx.input(0), pass), mul(grad, 2 * scale)),
})

const stdOp = defineFold('std', 'moments', {
  root: true,
  derivative(ctx, grad, { pass, scale }) {
    const y = reshape(ctx.output(), keptShape(pass))
    return mul(centered(ctx.input(0), pass), div(mul(grad, scale), where(y.detach(), y, 1)))
  },
})

function define(name: string, op: ReturnType<typeof defineFold>) {
  return (x: Tensor, dim?: number | readonly number[], options?: VarianceOptions | boolean, ...extra: []): Tensor => {
    checkFloats(name, x)
    checkNoMore(name, extra)
    const given = typeof options === 'boolean' ? { keepdim: options } : options
    checkOptions(name, given, OPTIONS)
    const { correction = 1, keepdim = false } = given ?? {}
    checkNumber(name, correction, 'correction')
    checkBoolean(name, keepdim, 'keepdim')
    return foldDims(name, x, dim, keepdim, (t, pass) => {
      const divisor = lengthOf(pass) - correction
      return op([t], { pass, scale: 1 / divisor, degenerate: !(divisor > 0) })
    })
  }
}

/**
 * The variance over one or more dims: the sum of squared deviations from the mean, divided by the number of elements less `correction`. Moments
 * of blocks are taken in two passes and merged (Chan, Golub and LeVeque 1979), which is exact for elements far from 0.
 * @param x float32 or float16 (which computes in float32), any shape
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param options.correction 1 for a sample, 0 for a whole population. Where it leaves no divisor the result is NaN or infinite
 * @param options.keepdim whether reduced dims stay, with size 1
 * @throws ShapeError for int32, a dim that x does not have, or one named twice; ArgumentError for unknown options
 */
export const variance = define('variance', varianceOp)

/** The standard deviation, the root of `variance`. Its gradient where it is 0 is 0. @throws ShapeError, ArgumentError as `variance` */
export const std = define('std', stdOp)
