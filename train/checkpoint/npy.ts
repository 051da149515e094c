// NumPy's format of one array (numpy.lib.format, versions 1 to 3).
import { UserError } from '../../engine/base/errors.ts'
import type { Dtype, TensorData } from '../../engine/index.ts'
import { fromHalf, toHalves } from '../../kernels/half.ts'

/** An array as tensors hold it: row-major values. */
export interface NpyArray {
  dtype: Dtype
  shape: number[]
  data: TensorData
}

const MAGIC = '\x93NUMPY'
/** The size of the preamble with the header in multiples of which the data begin. */
const ALIGNMENT = 64
/** The most bytes of a header, which has a shape and a dtype. */
const MAX_HEADER = 65536

const DESCR: Record<Dtype, string> = { float32: '<f4', float16: '<f2', int32: '<i4' }

/** Encodes values, row-major, as an .npy file of version 1. float16 tensors become NumPy's float16. */
export function encodeNpy({ dtype, shape, data }: NpyArray): Uint8Array<ArrayBuffer> {
  // NumPy writes a tuple of one with a comma.
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  const text = `{'descr': '${DESCR[dtype]}', 'fortran_order': False, 'shape': ${tuple}, }`
  const room = Math.ceil((MAGIC.length + 4 + text.length + 1) / ALIGNMENT) * ALIGNMENT
  const header = `${text.padEnd(room - MAGIC.length - 5)}\n`
  const values = dtype === 'float16' ? toHalves(data) : data
  const bytes = new Uint8Array(room + values.byteLength)
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i)
  bytes[6] = 1
  new DataView(bytes.buffer).setUint16(8, header.length, true)
  new TextEncoder().encodeInto(header, bytes.subarray(10))
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), room)
  return bytes
}

/**
 * Decodes an .npy file. float64 is rounded to float32; float16 stays; whole numbers and truth values become int32.
 * @param where the file's name, which starts every message
 * @throws UserError in one line for a file that is none, is cut off, has dims of 0 or values that int32 does not hold, or a dtype that is not
 *   of numbers
 */
export function decodeNpy(bytes: Uint8Array, where: string): NpyArray {
  const fail = (why: string) => new UserError(`${where}: ${why}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(0, 6)) !== MAGIC) throw fail('is no .npy file')
  const version = bytes[6]!
  if (version < 1 || version > 3) throw fail(`has version ${version} of the .npy format; versions 1 to 3 are known`)
  const [start, length] = version === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)]
  if (length > MAX_HEADER || start + length > bytes.length) throw fail('is cut off inside its header')
  const header = new TextDecoder().decode(bytes.subarray(start, start + length))
  const { descr, fortran, shape } = parseHeader(header, fail)
  const reader = readerOf(descr)
  if (!reader) throw fail(`has dtype ${descr}; takes float, int, uint and bool of NumPy`)
  const { dtype, size, read } = reader
  const count = shape.reduce((product, n) => product * n, 1)
  if (!(count >= 1 && shape.every((n) => Number.isSafeInteger(n) && n >= 1)))
    throw fail(`has shape (${shape.join(', ')}); tensors have no dims of 0`)
  if (bytes.length - start - length !== count * size)
    throw fail(
      `has ${bytes.length - start - length} bytes of values; shape (${shape.join(', ')}) of ${descr} takes ${count * size}`,
    )
  const values = new DataView(bytes.buffer, bytes.byteOffset + start + length)
  const data = dtype === 'int32' ? new Int32Array(count) : new Float32Array(count)
  const place = fortran ? columnMajor(shape) : (i: number) => i
  for (let i = 0; i < count; i++) {
    const value = read(values, i * size)
    if (dtype === 'int32' && value !== (value | 0)) throw fail(`holds ${value}, which int32 does not`)
    data[place(i)] = value
  }
  return { dtype, shape, data }
}

/** Reads the dictionary of the header, which NumPy writes as Python does. */
function parseHeader(header: string, fail: (why: string) => UserError) {
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1]
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1]
  const dims = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(header)?.[1]
  if (descr === undefined || order === undefined || dims === undefined) {
    throw fail('has a header without one dtype of numbers, order and shape')
  }
  const shape = dims.split(',').flatMap((text) => (text.trim() === '' ? [] : [Number(text)]))
  return { descr, fortran: order === 'True', shape }
}

interface Reader {
  dtype: Dtype
  /** Bytes of one value. */
  size: number
  read(view: DataView, at: number): number
}

function readerOf(descr: string): Reader | undefined {
  const [, order, kind, digits] = /^([<>|=])([fiub])(\d)$/.exec(descr) ?? []
  const little = order !== '>'
  const size = Number(digits)
  const make = (dtype: Dtype, read: Reader['read']): Reader => ({ dtype, size, read })
  switch (`${kind}${digits}`) {
    case 'f2':
      return make('float16', (view, at) => fromHalf(view.getUint16(at, little)))
    case 'f4':
      return make('float32', (view, at) => view.getFloat32(at, little))
    case 'f8':
      return make('float32', (view, at) => view.getFloat64(at, little))
    case 'i1':
      return make('int32', (view, at) => view.getInt8(at))
    case 'i2':
      return make('int32', (view, at) => view.getInt16(at, little))
    case 'i4':
      return make('int32', (view, at) => view.getInt32(at, little))
    case 'i8':
      return make('int32', (view, at) => Number(view.getBigInt64(at, little)))
    case 'u1':
    case 'b1':
      return make('int32', (view, at) => view.getUint8(at))
    case 'u2':
      return make('int32', (view, at) => view.getUint16(at, little))
    case 'u4':
      return make('int32', (view, at) => view.getUint32(at, little))
    case 'u8':
      return make('int32', (view, at) => Number(view.getBigUint64(at, little)))
  }
  return undefined
}

/** Gives the row-major place of value number i of an array in Fortran's order. */
function columnMajor(shape: readonly number[]): (i: number) => number {
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, n) => product * n, 1))
  return (i) => {
    let place = 0
    for (let d = 0, rest = i; d < shape.length; rest = Math.floor(rest / shape[d]!), d++)
      place += (rest % shape[d]!) * strides[d]!
    return place
  }
}
