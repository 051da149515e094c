import { refusal } from '../../engine/base/checks.ts'
import { fromHalves } from '../../kernels/half.ts'

export type SafetensorsData =
  | BigUint64Array
  | BigInt64Array
  | Float64Array
  | Float32Array
  | Uint32Array
  | Int32Array
  | Uint16Array
  | Int16Array
  | Int8Array
  | Uint8Array

interface ArrayType {
  new (buffer: ArrayBuffer): SafetensorsData
  readonly BYTES_PER_ELEMENT: number
}

/** The array type of each dtype, in the order in which the reference implementation lays tensors out: wide dtypes first. */
export const ARRAYS = {
  U64: BigUint64Array,
  I64: BigInt64Array,
  F64: Float64Array,
  F32: Float32Array,
  U32: Uint32Array,
  I32: Int32Array,
  BF16: Uint16Array,
  F16: Uint16Array,
  U16: Uint16Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const satisfies Record<string, ArrayType>

export type SafetensorsDtype = keyof typeof ARRAYS

/** One tensor of a file, row-major. F16 and BF16 are raw 16-bit words, BOOL is bytes; see `toFloat32`. */
export interface SafetensorsEntry {
  dtype: SafetensorsDtype
  shape: number[]
  data: SafetensorsData
}

/** Whether the values of a dtype can be read. Of a tensor of another dtype only size and place are known. */
export function isKnown(dtype: string): dtype is SafetensorsDtype {
  return Object.hasOwn(ARRAYS, dtype)
}

export function elementBytes(dtype: SafetensorsDtype): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT
}

/**
 * Converts the values of an entry to float32. They are rounded if the dtype holds more digits, and exact from F16, BF16 and
 * BOOL.
 * @throws ArgumentError unless `entry` has one of the dtypes above, and data in the array of that dtype
 */
export function toFloat32(entry: Pick<SafetensorsEntry, 'dtype' | 'data'>): Float32Array<ArrayBuffer> {
  const { dtype, data } = entry ?? {}
  if (typeof dtype !== 'string' || !Object.hasOwn(ARRAYS, dtype)) {
    throw refusal('toFloat32', dtype, `one of ${Object.keys(ARRAYS).join(', ')}`, 'dtype')
  }
  if (!(data instanceof ARRAYS[dtype])) throw refusal('toFloat32', data, `${dtype} in a ${ARRAYS[dtype].name}`, 'data')
  if (dtype === 'BF16') return new Float32Array(new Uint32Array(data as Uint16Array).map((word) => word << 16).buffer)
  if (dtype === 'F16') return fromHalves(data as Uint16Array)
  const out = new Float32Array(data.length)
  if (dtype === 'I64' || dtype === 'U64') for (let i = 0; i < out.length; i++) out[i] = Number(data[i])
  else out.set(data as Float32Array)
  return out
}
