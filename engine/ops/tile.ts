import { checkNoMore, checkWhole, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { format } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { broadcastTo, reshape } from './shape.ts'

/** The most dims that are repeated at once. Each becomes two dims of a view, of which a copy takes 8. */
const MOST = 3

/** Repeats x along its dims, as often as `reps` says for each. */
function repeated(x: Tensor, reps: readonly number[]): Tensor {
  const dims = reps.flatMap((times, d) => (times > 1 ? [d] : []))
  const [now, later] = [dims.slice(0, MOST), dims.slice(MOST)]
  const times = (d: number) => (now.includes(d) ? reps[d]! : 1)
  const split = x.shape.flatMap((size, d) => (now.includes(d) ? [1, size] : [size]))
  const wide = x.shape.flatMap((size, d) => (now.includes(d) ? [reps[d]!, size] : [size]))
  const tiled = reshape(
    broadcastTo(reshape(x, split), wide),
    x.shape.map((size, d) => size * times(d)),
  )
  return later.length === 0
    ? tiled
    : repeated(
        tiled,
        reps.map((count, d) => (later.includes(d) ? count : 1)),
      )
}

/** @throws ArgumentError unless `reps` is a list of whole numbers of at least 1 */
function checkReps(op: string, reps: unknown): asserts reps is readonly number[] {
  if (!Array.isArray(reps)) throw refusal(op, reps, 'a list of counts such as [2, 1]', 'reps')
  for (const times of reps) checkWhole(op, times, 'a count')
}

/**
 * Repeats x side by side, as NumPy's `tile`: the result has reps[d] copies of x along dim d. The shorter of `reps` and the shape of x gets
 * ones in front.
 * @param x any shape and dtype
 * @param reps a count for each dim
 * @throws ArgumentError unless `reps` is a list of whole numbers of at least 1
 */
export function tile(x: Tensor, reps: readonly number[], ...extra: []): Tensor {
  checkTensor('tile', x)
  checkReps('tile', reps)
  checkNoMore('tile', extra)
  const rank = Math.max(x.ndim, reps.length)
  const padded = [...new Array<number>(rank - reps.length).fill(1), ...reps]
  return repeated(reshape(x, [...new Array<number>(rank - x.ndim).fill(1), ...x.shape]), padded)
}

/**
 * Repeats x side by side, as PyTorch's `repeat`: `tile` with at least one count for each dim.
 * @param x any shape and dtype
 * @param reps the counts; those in front of the dims of x add dims
 * @throws ShapeError for fewer counts than dims; ArgumentError unless `reps` is a list of whole numbers of at least 1
 */
export function repeat(x: Tensor, reps: readonly number[], ...extra: []): Tensor {
  checkTensor('repeat', x)
  checkReps('repeat', reps)
  checkNoMore('repeat', extra)
  if (reps.length < x.ndim)
    throw new ShapeError(`repeat: got ${reps.length} counts for ${format(x.shape)}, takes one for each dim`)
  return tile(x, reps)
}
