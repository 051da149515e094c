import { type Layout, MAX_DIMS } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, SCALAR_BYTES, type Scalar } from '../spec.ts'
import padSource from './pad.wgsl'

/** The outer dims of the result with the box in them, and the innermost dim with the box in it. */
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
  /** Element type; default any 4-byte type. */
  dtype?: Scalar
}

/**
 * Problem of `pad`: a result of this shape that holds `source` in the box of [first, end) in each dim.
 * @param source strides by the same dims, first element
 */
export function padProblem(shape: readonly number[], box: readonly (readonly [number, number])[], source: Layout): Pad {
  const merged: { size: number; from: number; to: number; stride: number }[] = []
  for (const [d, size] of shape.entries()) {
    if (size === 1) continue
    const [from, to] = box[d]!
    const stride = source.strides[d]!
    const last = merged.at(-1)
    // A dim that the box fills joins the one before it, if the source walks through both as one.
    if (last && from === 0 && to === size && last.stride === stride * size) {
      merged[merged.length - 1] = { size: last.size * size, from: last.from * size, to: last.to * size, stride }
    } else {
      merged.push({ size, from, to, stride })
    }
  }
  if (merged.length > MAX_DIMS) throw new Error(`${merged.length} dims remain of [${shape}], more than ${MAX_DIMS}`)
  const inner = merged.pop() ?? { size: 1, from: 0, to: 1, stride: 1 }
  return {
    dims: merged.map((dim) => dim.size),
    begin: merged.map((dim) => dim.from),
    end: merged.map((dim) => dim.to),
    sourceStrides: merged.map((dim) => dim.stride),
    outer: merged.length,
    rows: merged.reduce((product, dim) => product * dim.size, 1),
    inner: inner.size,
    start: inner.from,
    stop: inner.to,
    sourceStep: inner.stride,
    sourceOffset: source.offset,
  }
}

/** out = source inside a box, 0 around it: the gradient of a slice, in one pass. */
export const pad: KernelSpec<Pad> = {
  name: 'pad',
  bindings: [
    { name: 'source', access: 'read', dtype: ({ dtype = 'u32' }: Pad) => dtype, offset: 'sourceOffset' },
    { name: 'out', access: 'read_write', dtype: ({ dtype = 'u32' }: Pad) => dtype },
  ],
  params: [
    branchStrides(2),
    ...['dims', 'begin', 'end', 'sourceStrides'].map((name) => ({ name, type: 'u32', length: MAX_DIMS }) as const),
    ...['outer', 'rows', 'inner', 'start', 'stop', 'sourceStep', 'sourceOffset'].map(
      (name) => ({ name, type: 'u32' }) as const,
    ),
  ],
  variants: [stridedVariant(padSource, ({ dtype = 'u32' }) => ({ Element: dtype }))],
  flops: () => 0,
  bytes: ({ begin, end, rows, inner, start, stop, dtype = 'u32' }) =>
    SCALAR_BYTES[dtype] * (rows * inner + begin.reduce((size, first, d) => size * (end[d]! - first), stop - start)),
}
