import { type Layout, MAX_DIMS, mergeDims } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import padSource from './pad.wgsl'

/** A result with a box of source values: `begin` and `end` bound it in the outer dims, `start` and `stop` in the innermost one. */
export interface Pad {
  dims: number[]
  begin: number[]
  end: number[]
  sourceStrides: number[]
  outer: number
  rows: number
  inner: number
  start: number
  stop: number
  sourceStep: number
  sourceOffset: number
  /** The element type; any 4-byte type where it is left out. */
  dtype?: Scalar
}

/**
 * The problem of `pad`: a result of this shape that holds `source` in a box.
 * @param box the first index and the exclusive end of the box in each dim
 * @param source the layout of the source, whose shape is that of the box
 */
export function padProblem(shape: readonly number[], box: readonly (readonly [number, number])[], source: Layout): Pad {
  // A dim can only be merged into the dim before it where the box fills it.
  const fills = (d: number) => box[d]![0] === 0 && box[d]![1] === shape[d]
  const { dims, strides, firsts } = mergeDims(shape, [source.strides], fills)
  if (dims.length > MAX_DIMS) throw new Error(`${dims.length} dims remain of [${shape}], more than ${MAX_DIMS}`)
  const bounds = dims.map((size, i) => box[firsts[i]!]!.map((at) => (at * size) / shape[firsts[i]!]!))
  const inner = dims.pop() ?? 1
  const [start, stop] = (bounds.pop() ?? [0, 1]) as [number, number]
  return {
    dims,
    begin: bounds.map(([from]) => from!),
    end: bounds.map(([, to]) => to!),
    sourceStep: strides[0]!.pop() ?? 1,
    sourceStrides: strides[0]!,
    outer: dims.length,
    rows: dims.reduce((product, size) => product * size, 1),
    inner,
    start,
    stop,
    sourceOffset: source.offset,
  }
}

/** out, row-major, is source inside a box and 0 around it: the gradient of a slice in one pass. */
export const pad: KernelSpec<Pad> = {
  name: 'pad',
  bindings: [
    { name: 'source', access: 'read', dtype: ({ dtype = 'u32' }: Pad) => dtype, offset: 'sourceOffset' },
    ...writes(({ dtype = 'u32' }: Pad) => dtype, 'out'),
  ],
  params: [
    branchStrides(2),
    ...['dims', 'begin', 'end', 'sourceStrides'].map((name) => ({ name, type: 'u32', length: MAX_DIMS }) as const),
    ...scalars('u32', 'outer', 'rows', 'inner', 'start', 'stop', 'sourceStep', 'sourceOffset'),
  ],
  variants: [stridedVariant(padSource, ({ dtype = 'u32' }) => ({ Element: dtype }))],
  flops: () => 0,
  bytes: ({ begin, end, rows, inner, start, stop, dtype = 'u32' }) =>
    SCALAR_BYTES[dtype] * (rows * inner + begin.reduce((size, first, d) => size * (end[d]! - first), stop - start)),
}
