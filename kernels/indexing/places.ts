import { type KernelSpec, reads, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import { threadEach } from './along.ts'
import oneHotSource from './oneHot.wgsl'
import triangleSource from './triangle.wgsl'

/** Matrices of which one side of a diagonal is kept. */
export interface Triangle {
  batches: number
  rows: number
  columns: number
  /** The diagonal, 0 for the main one; positive ones lie above it. */
  diagonal: number
  lower: boolean
  /** The element type; any 4-byte type where it is left out. */
  dtype?: Scalar
}

/** output = x [batches, rows, columns] above or below a diagonal, with it, and 0 elsewhere. */
export const triangle: KernelSpec<Triangle> = {
  name: 'triangle',
  bindings: [
    ...reads(({ dtype = 'u32' }: Triangle) => dtype, 'x'),
    ...writes(({ dtype = 'u32' }: Triangle) => dtype, 'output'),
  ],
  params: [...scalars('u32', 'batches', 'rows', 'columns'), ...scalars('i32', 'diagonal')],
  variants: [
    {
      name: 'direct',
      source: triangleSource,
      constants: ({ lower, dtype = 'u32' }) => ({ LOWER: lower, Element: dtype }),
      grid: ({ batches, rows, columns }) => threadEach(batches * rows * columns),
    },
  ],
  flops: () => 0,
  bytes: ({ batches, rows, columns, dtype = 'u32' }) => 2 * SCALAR_BYTES[dtype] * batches * rows * columns,
}

export interface OneHot {
  count: number
  classes: number
  dtype: Scalar
}

/** output [count, classes] = 1 at the class of each of labels [count], else 0. */
export const oneHot: KernelSpec<OneHot> = {
  name: 'oneHot',
  bindings: [...reads('i32', 'labels'), ...writes(({ dtype }: OneHot) => dtype, 'output')],
  params: scalars('u32', 'count', 'classes'),
  variants: [
    {
      name: 'direct',
      source: oneHotSource,
      constants: ({ dtype }) => ({ Element: dtype }),
      grid: ({ count, classes }) => threadEach(count * classes),
    },
  ],
  flops: () => 0,
  bytes: ({ count, classes, dtype }) => 4 * count + SCALAR_BYTES[dtype] * count * classes,
}
