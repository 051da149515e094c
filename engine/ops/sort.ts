import { checkBoolean, checkNoMore, checkWhole } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { format, normalizeDim } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { orderOf } from './argsort.ts'
import { gatherOp } from './byIndex.ts'
import { slice } from './slice.ts'

export interface SortOptions {
  /** Whether the largest comes first; default false. */
  descending?: boolean
}

const SORT_OPTIONS: OptionNames<SortOptions> = { descending: true }

function indicesOf(op: string, x: Tensor, dim: number, options: SortOptions | undefined): Tensor {
  checkTensor(op, x)
  checkOptions(op, options, SORT_OPTIONS)
  const { descending = false } = options ?? {}
  checkBoolean(op, descending, 'descending')
  const axis = normalizeDim(op, dim, Math.max(x.ndim, 1))
  return orderOf(x, { dim: axis, count: x.shape[axis] ?? 1, descending, nanFirst: false })
}

/** The elements of x at indices of which none repeats along a dim, which is counted from the front. */
function taken(x: Tensor, indices: Tensor, dim: number): Tensor {
  return gatherOp([x, indices], { dim, shape: x.shape, unique: true })
}

/**
 * Sorts along a dim: bitonic runs in workgroup memory (networks in registers on a software device), which are merged by merge path. The order
 * is stable; -0 and 0 are equal, and NaN comes last in both directions.
 * @param x any shape and dtype
 * @param dim by default the last; negative numbers count back
 * @param options.descending whether the largest comes first
 * @returns the values, through which gradients flow, and their int32 indices along the dim
 * @throws ShapeError for a dim that x does not have; ArgumentError for unknown options
 */
export function sort(x: Tensor, dim = -1, options?: SortOptions, ...extra: []): [values: Tensor, indices: Tensor] {
  checkNoMore('sort', extra)
  const indices = indicesOf('sort', x, dim, options)
  return [taken(x, indices, normalizeDim('sort', dim, Math.max(x.ndim, 1))), indices]
}

/**
 * The int32 indices that sort x along a dim, as `sort` gives them. No gradient flows.
 * @param x any shape and dtype
 * @param dim by default the last; negative numbers count back
 * @param options.descending whether the largest comes first
 * @throws ShapeError for a dim that x does not have; ArgumentError for unknown options
 */
export function argsort(x: Tensor, dim = -1, options?: SortOptions, ...extra: []): Tensor {
  checkNoMore('argsort', extra)
  return indicesOf('argsort', x, dim, options)
}

export interface TopkOptions {
  /** Whether the largest elements are taken, else the smallest; default true. */
  largest?: boolean
}

const TOPK_OPTIONS: OptionNames<TopkOptions> = { largest: true }

/**
 * Takes the k largest elements along a dim, the largest first. Of equal ones those with the smallest index are taken; NaN counts as the
 * largest, as in PyTorch. For a small k not all are sorted.
 * @param x any shape and dtype
 * @param k at most the size of the dim
 * @param dim by default the last; negative numbers count back
 * @param options.largest false takes the smallest, of which the smallest comes first
 * @returns the values, through which gradients flow, and their int32 indices along the dim
 * @throws ShapeError for a k above the size of the dim, or a dim that x does not have; ArgumentError unless k is a whole number of at least
 *   1, and for unknown options
 */
export function topk(x: Tensor, k: number, dim = -1, options?: TopkOptions, ...extra: []): [values: Tensor, indices: Tensor] {
  checkTensor('topk', x)
  checkWhole('topk', k, 'k')
  checkOptions('topk', options, TOPK_OPTIONS)
  checkNoMore('topk', extra)
  const { largest = true } = options ?? {}
  checkBoolean('topk', largest, 'largest')
  const axis = normalizeDim('topk', dim, Math.max(x.ndim, 1))
  const n = x.shape[axis] ?? 1
  if (k > n) throw new ShapeError(`topk: got k ${k} for dim ${axis} of ${format(x.shape)}, takes at most ${n}`)
  const found = orderOf(x, { dim: axis, count: k, descending: largest, nanFirst: largest })
  const whole = (found.shape[axis] ?? 1) === k
  const indices = whole
    ? found
    : slice(
        found,
        x.shape.map((_, d) => (d === axis ? [0, k] : [])),
      )
  return [taken(x, indices, axis), indices]
}
