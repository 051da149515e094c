import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { rowMajorStrides } from '../../kernels/layout.ts'

/** A row-major float64 array, with which chains of views are compared: here every view op copies. */
export interface NdArray {
  shape: Shape
  data: Float64Array
}

export function ndarray(data: ArrayLike<number>, shape: Shape): NdArray {
  return { shape, data: Float64Array.from(data) }
}

/** An array of this shape whose element at each index is `value(index)`. */
export function generate(shape: Shape, value: (index: number[]) => number): NdArray {
  const strides = rowMajorStrides(shape)
  const data = Float64Array.from({ length: sizeOf(shape) }, (_, i) =>
    value(shape.map((size, d) => Math.floor(i / strides[d]!) % size)),
  )
  return { shape, data }
}

/**
 * The element at an index, with broadcasting: dims of size 1 repeat, and leading dims of the index that the array lacks are
 * dropped.
 */
export function elementAt({ shape, data }: NdArray, index: readonly number[]): number {
  const strides = rowMajorStrides(shape)
  const own = index.slice(index.length - shape.length)
  return data[own.reduce((at, i, d) => at + (shape[d] === 1 ? 0 : i * strides[d]!), 0)]!
}

export function permuted(a: NdArray, order: readonly number[]): NdArray {
  const shape = order.map((d) => a.shape[d]!)
  return generate(shape, (index) =>
    elementAt(
      a,
      order.map((_, d) => index[order.indexOf(d)]!),
    ),
  )
}

export function sliced(a: NdArray, box: readonly (readonly [number, number])[]): NdArray {
  return generate(
    box.map(([start, stop]) => stop - start),
    (index) =>
      elementAt(
        a,
        index.map((i, d) => i + box[d]![0]),
      ),
  )
}

export function reshaped(a: NdArray, shape: Shape): NdArray {
  return { shape, data: a.data }
}

export function broadcasted(a: NdArray, shape: Shape): NdArray {
  return generate(shape, (index) => elementAt(a, index))
}

/** Applies `f` to the elements of two arrays, with NumPy's broadcasting. */
export function zip(a: NdArray, b: NdArray, f: (a: number, b: number) => number): NdArray {
  const rank = Math.max(a.shape.length, b.shape.length)
  const sizes = [a, b].map(({ shape }) => [...new Array<number>(rank - shape.length).fill(1), ...shape])
  const shape = sizes[0]!.map((size, d) => Math.max(size, sizes[1]![d]!))
  return generate(shape, (index) => f(elementAt(a, index), elementAt(b, index)))
}

/** The sum over the dims in which `shape` is broadcast to the array's shape: the gradient of broadcasting. */
export function summedTo(a: NdArray, shape: Shape): NdArray {
  const out = { shape, data: new Float64Array(sizeOf(shape)) }
  const strides = rowMajorStrides(shape)
  generate(a.shape, (index) => {
    const own = index.slice(index.length - shape.length)
    out.data[own.reduce((at, i, d) => at + (shape[d] === 1 ? 0 : i * strides[d]!), 0)]! += elementAt(a, index)
    return 0
  })
  return out
}
