import { fromHalves } from '../../kernels/half.ts'
import { refusal } from '../base/checks.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { type Dtype, INT32_MAX, INT32_MIN } from './dtype.ts'
import { format, type Shape } from './shape.ts'

/** The values of a tensor on the host: an Int32Array for int32, a Float32Array for float32 and float16. */
export type TensorData = Float32Array | Int32Array

/** A number, or lists of numbers, nested as deep as the tensor has dims. */
export type Nested = number | ArrayLike<number> | readonly Nested[]

/** The deepest nesting of lists. Deeper nesting is a mistake, such as a list that holds itself. */
const MAX_DEPTH = 64

const TAKES = 'numbers, lists of them or a typed array of numbers'

type TypedArray = ArrayLike<number> & ArrayBufferView & { set?: unknown }

/** Classes of arrays whose elements all fit int32. */
const SMALL_INTEGERS: readonly unknown[] = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array]

/** @throws ArgumentError for a view without numbers: BigInt64Array, BigUint64Array, DataView */
function checkTyped(op: string, data: ArrayBufferView): asserts data is TypedArray {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    throw refusal(op, data, `${TAKES}; convert it, as Int32Array.from(values, Number) does`)
  }
  if (!('length' in data)) throw refusal(op, data, TAKES)
}

/**
 * Returns the shape of nested lists. The values in them are checked when they are copied.
 * @throws ArgumentError unless `data` is a number, a list or a typed array of numbers; ShapeError for lists of different lengths
 */
export function shapeOfValues(op: string, data: unknown, depth = 0): number[] {
  if (typeof data === 'number') return []
  if (ArrayBuffer.isView(data)) {
    checkTyped(op, data)
    return [data.length]
  }
  if (!Array.isArray(data)) throw refusal(op, data, TAKES)
  if (depth > MAX_DEPTH) throw new ShapeError(`${op}: lists are nested more than ${MAX_DEPTH} deep`)
  const shapeOf = (item: unknown) => (isList(item) ? shapeOfValues(op, item, depth + 1) : [])
  const inner = shapeOf(data[0])
  const first = format(inner)
  for (let i = 1; i < data.length; i++) {
    if (inner.length === 0 && typeof data[i] !== 'object') continue
    const other = format(shapeOf(data[i]))
    if (other !== first) throw new ShapeError(`${op}: nested lists have different lengths: ${first}, and ${other} at ${i}`)
  }
  return [data.length, ...inner]
}

function isList(data: unknown): data is ArrayLike<unknown> {
  return Array.isArray(data) || ArrayBuffer.isView(data)
}

/**
 * Converts values to the array that tensors of a dtype are written from, row-major. A Float32Array for float32, or an Int32Array for int32,
 * is returned itself.
 * @throws ArgumentError that names the first value, with its index, that is no number, or for int32 no whole number of 32 bits;
 *   ShapeError unless there are as many values as `shape` has elements
 */
export function valuesOf(op: string, data: unknown, dtype: Dtype, shape: Shape, size: number): TensorData {
  const fits = (count: number) => {
    if (count !== size) throw new ShapeError(`${op}: ${count} values do not fill shape ${format(shape)}`)
  }
  const ArrayType = dtype === 'int32' ? Int32Array : Float32Array
  if (ArrayBuffer.isView(data)) {
    checkTyped(op, data)
    fits(data.length)
    if (data instanceof ArrayType) return data
    if (dtype !== 'int32' || SMALL_INTEGERS.includes(data.constructor)) return new ArrayType(data)
    const out = new Int32Array(size)
    copy(op, data, out, 0)
    return out
  }
  fits(countOf(op, data, 0))
  const out = new ArrayType(size)
  copy(op, isList(data) ? data : [data], out, 0)
  return out
}

/** Counts the values in nested lists. */
function countOf(op: string, data: unknown, depth: number): number {
  if (!isList(data)) return 1
  if (ArrayBuffer.isView(data)) {
    checkTyped(op, data)
    return data.length
  }
  if (depth > MAX_DEPTH) throw new ShapeError(`${op}: lists are nested more than ${MAX_DEPTH} deep`)
  let count = 0
  for (let i = 0; i < data.length; i++) {
    const item = data[i]
    count += typeof item === 'object' ? countOf(op, item, depth + 1) : 1
  }
  return count
}

/** Copies the numbers of nested lists to `out`, from index `at` on. @returns the exclusive end, in elements */
function copy(op: string, data: ArrayLike<unknown>, out: Float32Array | Int32Array, at: number): number {
  const int = out instanceof Int32Array
  let next = at
  for (let i = 0; i < data.length; i++) {
    const value = data[i]
    if (typeof value === 'number') {
      if (int && !isInt32(value)) throw notInt(op, value, next)
      out[next++] = value
    } else if (isList(value)) next = copy(op, value, out, next)
    else throw new ArgumentError(`${op}: value ${next} is ${kindOf(value)}; takes ${TAKES}${hint(value)}`)
  }
  return next
}

/** Whether an int32 tensor can hold a number. */
export function isInt32(value: number): boolean {
  return Number.isInteger(value) && value >= INT32_MIN && value <= INT32_MAX
}

function notInt(op: string, value: number, index: number): ArgumentError {
  return new ArgumentError(`${op}: value ${index} is ${value}; int32 takes whole numbers from ${INT32_MIN} to ${INT32_MAX}`)
}

function hint(value: unknown): string {
  if (typeof value === 'boolean') return ' (1 for true and 0 for false)'
  return typeof value === 'bigint' ? ' (convert it with Number())' : ''
}

/** The values of a tensor of `size` elements from what its device holds. */
export function valuesOfBytes(memory: ArrayBuffer, dtype: Dtype, size: number): TensorData {
  if (dtype === 'float16') return fromHalves(new Uint16Array(memory, 0, size))
  return dtype === 'float32' ? new Float32Array(memory) : new Int32Array(memory)
}
