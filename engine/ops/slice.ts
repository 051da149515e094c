import { pad, padProblem } from '../../kernels/copy/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { format, type Shape } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { flip } from './flip.ts'

/** By dim, the first index and the exclusive end of a slice. */
type Box = readonly (readonly [number, number])[]

/** Makes the view of every `steps[d]`th element of the box along each dim. */
function boxView(x: Tensor, box: Box, steps: Shape): Tensor {
  return view(x, {
    shape: box.map(([start, stop], d) => Math.ceil((stop - start) / steps[d]!)),
    strides: x.strides.map((stride, d) => stride * steps[d]!),
    offset: box.reduce((sum, [start], d) => sum + start * x.strides[d]!, x.offset),
  })
}

/** Writes `grad` into every `steps[d]`th element of a box of `out`, and zeros around it. */
function padInto(out: Tensor, grad: Tensor, { shape, box, steps }: SliceArguments): void {
  if (steps.some((step) => step !== 1)) {
    fillInPlace(out, 0)
    copyInto(grad, boxView(out, box, steps))
    return
  }
  const { layout, bound } = operand(grad)
  const problem = padProblem(shape, box, layout)
  run(pad, out.dtype === 'float16' ? { ...problem, dtype: 'f16' } : problem, [bound, out])
}

interface SliceArguments {
  shape: Shape
  box: Box
  steps: Shape
}

type SliceOp = (inputs: [Tensor], args: SliceArguments) => Tensor

const sliceOp: SliceOp = defineOp<[Tensor], SliceArguments>({
  name: 'slice',
  forward: (_ctx, [x], { box, steps }) => boxView(x, box, steps),
  backward(ctx, grad, args) {
    const dx = ctx.gradOut(0)
    padInto(dx, grad, args)
    return [dx]
  },
  differentiableBackward: (_ctx, grad, args) => [padOp([grad], args)],
})

const padOp: SliceOp = defineOp<[Tensor], SliceArguments>({
  name: 'slice.backward',
  forward(_ctx, [grad], args) {
    const out = empty(args.shape, grad.dtype, grad.device)
    padInto(out, grad, args)
    return out
  },
  backward: (_ctx, grad, args) => [sliceOp([grad], args)],
  differentiableBackward: (_ctx, grad, args) => [sliceOp([grad], args)],
})

/**
 * The bounds of a slice along one dim, by default the whole dim. As in NumPy, negative bounds count back, and bounds outside move to the
 * edge. `stop` is exclusive. A negative step walks from `start`, by default the last element, towards the front.
 */
export type SliceRange = readonly [start?: number | undefined, stop?: number | undefined, step?: number | undefined]

/** @throws ArgumentError unless `ranges` is a list of ranges */
function checkRanges(ranges: unknown): void {
  const takes = 'a range for each dim such as [[0, 2], [], [-1]]'
  if (!Array.isArray(ranges)) throw refusal('slice', ranges, takes)
  for (const [d, range] of ranges.entries()) {
    const bounds = range === undefined || (Array.isArray(range) && range.length <= 3)
    if (bounds && (range ?? []).every((at: unknown) => at === undefined || typeof at === 'number')) continue
    throw refusal('slice', range, `[start, stop] or [start, stop, step], ${takes}`, `range ${d}`)
  }
}

/** A range along a dim of `size` elements with positive step: the first index, the exclusive end, the step, and whether it is walked back. */
function resolve([start, stop, step = 1]: SliceRange, size: number): { box: [number, number]; step: number; back: boolean } {
  const back = step < 0
  const at = (bound: number, least: number, most: number) => Math.min(Math.max(bound < 0 ? bound + size : bound, least), most)
  if (!back) return { box: [at(start ?? 0, 0, size), at(stop ?? size, 0, size)], step, back }
  const first = at(start ?? size - 1, -1, size - 1)
  const end = stop === undefined ? -1 : at(stop, -1, size - 1)
  // The same elements from the front: the last one that the walk meets comes first.
  const count = Math.ceil((first - end) / -step)
  return { box: [first + (count - 1) * step, first + 1], step: -step, back }
}

/**
 * Takes the elements from start to stop (exclusive) along each dim: all of them, or every one that a step meets. The result is a view, but
 * for negative steps, which copy.
 * @param ranges by dim; dims without a range stay whole
 * @throws ShapeError when a range is empty or no whole numbers, a step is 0, or there are more ranges than dims; ArgumentError when `ranges`
 *   is no list of ranges
 */
export function slice(x: Tensor, ranges: readonly SliceRange[], ...extra: []): Tensor {
  checkTensor('slice', x)
  checkRanges(ranges)
  checkNoMore('slice', extra)
  if (ranges.length > x.ndim) throw new ShapeError(`slice: got ${ranges.length} ranges for ${format(x.shape)}`)
  const resolved = x.shape.map((size, d) => {
    const range = ranges[d] ?? []
    const whole = range.every((at) => at === undefined || Number.isInteger(at))
    if (range[2] === 0) throw new ShapeError(`slice: got step 0 for dim ${d} of ${format(x.shape)}, takes a step that is not 0`)
    const found = resolve(range, size)
    if (!whole || !(found.box[0] < found.box[1])) {
      const [start = 0, stop = size] = range
      const shown = range[2] === undefined ? [start, stop] : range
      throw new ShapeError(`slice: ${kindOf([...shown])} takes nothing from dim ${d} of ${format(x.shape)}`)
    }
    return found
  })
  const [box, steps] = [resolved.map((found) => found.box), resolved.map(({ step }) => step)]
  const taken = sliceOp([x], { shape: x.shape, box, steps })
  const back = resolved.flatMap((found, d) => (found.back ? [d] : []))
  return back.length > 0 ? flip(taken, back) : taken
}
