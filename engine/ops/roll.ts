import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { dimsOf } from './flip.ts'
import { reshape } from './shape.ts'

/** A part of one dim: where it begins in the source and in the target, and its size. */
interface Part {
  from: number
  to: number
  size: number
}

/** The at most two parts of a dim that is rolled by `shift`. */
function partsOf(size: number, shift: number): Part[] {
  const by = ((shift % size) + size) % size
  if (by === 0) return [{ from: 0, to: 0, size }]
  return [
    { from: 0, to: by, size: size - by },
    { from: size - by, to: 0, size: by },
  ]
}

/** Writes x, rolled by a shift along each dim, into the contiguous tensor `out`. */
function rollInto(out: Tensor, x: Tensor, shifts: readonly number[]): void {
  const boxes = x.shape.reduce<Part[][]>(
    (all, size, d) => all.flatMap((box) => partsOf(size, shifts[d]!).map((part) => [...box, part])),
    [[]],
  )
  for (const box of boxes) {
    const shape = box.map(({ size }) => size)
    const at = (t: Tensor, place: 'from' | 'to') => box.reduce((sum, part, d) => sum + part[place] * t.strides[d]!, t.offset)
    const [source, target] = [view(x, { shape, offset: at(x, 'from') }), view(out, { shape, offset: at(out, 'to') })]
    copyInto(source, target)
  }
}

/** The shifts that undo others. */
const back = (shifts: readonly number[]) => shifts.map((shift) => -shift)

const op: (inputs: [Tensor], shifts: readonly number[]) => Tensor = defineOp<[Tensor], readonly number[]>({
  name: 'roll',
  forward(_ctx, [x], shifts) {
    const out = empty(x.shape, x.dtype, x.device)
    rollInto(out, x, shifts)
    return out
  },
  backward(ctx, grad, shifts) {
    const dx = ctx.gradOut(0)
    rollInto(dx, grad, back(shifts))
    return [dx]
  },
  differentiableBackward: (_ctx, grad, shifts) => [op([grad], back(shifts))],
})

/**
 * Moves the elements along dims by a number of places; those that leave at one end enter at the other.
 * @param x any shape and dtype
 * @param shifts a whole number, or one for each of the dims. Positive numbers move towards the end
 * @param dims a dim or a list of dims; without it all elements are rolled in row-major order by one number. Negative numbers count back
 * @throws ShapeError for a dim that x does not have, one named twice, or another number of shifts than of dims; ArgumentError for shifts
 *   that are no whole numbers
 */
export function roll(x: Tensor, shifts: number | readonly number[], dims?: number | readonly number[], ...extra: []): Tensor {
  checkTensor('roll', x)
  checkNoMore('roll', extra)
  const list = [shifts].flat() as number[]
  if (!list.every((shift) => Number.isSafeInteger(shift))) throw refusal('roll', shifts, 'whole numbers', 'shifts')
  if (dims === undefined) {
    if (list.length !== 1) throw new ShapeError(`roll: got ${list.length} shifts without dims, takes one`)
    return reshape(op([reshape(x, [x.size])], list), x.shape)
  }
  const named = dimsOf('roll', x, dims)
  if (named.length !== list.length)
    throw new ShapeError(`roll: got ${list.length} shifts for ${named.length} dims, takes one for each`)
  return op(
    [x],
    x.shape.map((_, d) => (named.includes(d) ? list[named.indexOf(d)]! : 0)),
  )
}
