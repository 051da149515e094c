// Values as nested lists, and as text.
import { type Shape, sizeOf } from './shape.ts'
import type { TensorData } from './values.ts'

/** A number, or lists of numbers, nested as deep as a tensor has dims. */
export type NestedValues = number | NestedValues[]

/** The most values of a tensor that are kept to be shown. */
export const MOST_SHOWN = 1000

/** A dim of more entries is shown by this many of its first and of its last ones. */
const EDGE = 3

/** Returns row-major values as nested lists; a number for rank 0. */
export function nestValues(values: TensorData, shape: Shape): NestedValues {
  const [size, ...inner] = shape
  if (size === undefined) return values[0]!
  if (inner.length === 0) return Array.from(values)
  const stride = sizeOf(inner)
  return Array.from({ length: size }, (_, i) => nestValues(values.subarray(i * stride, (i + 1) * stride), inner))
}

/** Writes row-major values as NumPy does: brackets around each dim, columns aligned, long dims cut in the middle. */
export function formatValues(values: TensorData, shape: Shape): string {
  const digits = values instanceof Int32Array ? String : shortest
  const texts = Array.from(values, digits)
  const width = Math.max(...texts.map((text) => text.length))
  const write = (start: number, depth: number): string => {
    if (depth === shape.length) return texts[start]!.padStart(width)
    const size = shape[depth]!
    const stride = sizeOf(shape.slice(depth + 1))
    const last = depth === shape.length - 1
    const entries = Array.from({ length: size }, (_, i) => i)
    const cut = size > 4 * EDGE
    const parts = (cut ? [...entries.slice(0, EDGE), undefined, ...entries.slice(-EDGE)] : entries).map((i) => {
      return i === undefined ? '…' : write(start + i * stride, depth + 1)
    })
    return `[${parts.join(last ? ', ' : `,\n${' '.repeat(depth + 1)}`)}]`
  }
  return write(0, 0)
}

/** A number with at most 6 significant digits. */
function shortest(value: number): string {
  return String(Object.is(value, -0) ? '-0' : Number(value.toPrecision(6)))
}
