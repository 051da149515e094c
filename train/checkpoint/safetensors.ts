import { reason, UserError } from '../../engine/errors.ts'

export type SafetensorsDtype = 'F64' | 'I64' | 'F32' | 'I32' | 'F16' | 'U8'
export type SafetensorsData = Float64Array | BigInt64Array | Float32Array | Int32Array | Uint16Array | Uint8Array

/** One tensor of a file, row-major. F16 travels as its raw 16-bit words in a Uint16Array. */
export interface SafetensorsEntry {
  dtype: SafetensorsDtype
  shape: number[]
  data: SafetensorsData
}

export interface SafetensorsFile {
  tensors: Map<string, SafetensorsEntry>
  metadata: Record<string, string>
}

interface ArrayType {
  new (buffer: ArrayBuffer): SafetensorsData
  readonly BYTES_PER_ELEMENT: number
}

const ARRAYS: Record<SafetensorsDtype, ArrayType> = {
  F64: Float64Array,
  I64: BigInt64Array,
  F32: Float32Array,
  I32: Int32Array,
  F16: Uint16Array,
  U8: Uint8Array,
}

/** The reference implementation refuses longer headers too. */
const MAX_HEADER = 100_000_000

/**
 * Encodes tensors in the safetensors format: 8 bytes of header length, a JSON header padded to 8, the data. Tensors lie
 * in the map's order within falling element size, which keeps every one aligned.
 * @throws UserError when a shape and its data disagree, or a name is the reserved `__metadata__`
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const entries = [...tensors].sort(([, a], [, b]) => elementBytes(b.dtype) - elementBytes(a.dtype))
  const header: [string, unknown][] = metadata ? [['__metadata__', metadata]] : []
  let end = 0
  for (const [name, { dtype, shape, data }] of entries) {
    if (name === '__metadata__') throw new UserError('a tensor cannot be named __metadata__; choose another name')
    const bytes = product(shape) * elementBytes(dtype)
    if (!(data instanceof ARRAYS[dtype]) || data.byteLength !== bytes) {
      throw new UserError(`tensor ${name}: ${data.constructor.name}(${data.length}) is not ${dtype} [${shape.join(', ')}]`)
    }
    header.push([name, { dtype, shape, data_offsets: [end, end + bytes] }])
    end += bytes
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)))
  const headerLength = Math.ceil(json.length / 8) * 8
  const out = new Uint8Array(8 + headerLength + end)
  new DataView(out.buffer).setBigUint64(0, BigInt(headerLength), true)
  out.set(json, 8)
  out.fill(0x20, 8 + json.length, 8 + headerLength)
  let at = 8 + headerLength
  for (const [, { data }] of entries) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return out
}

/**
 * Decodes a safetensors file; every tensor gets its own memory.
 * @param where the file's name, which starts every error message
 * @throws UserError in one line for anything malformed
 */
export function decodeSafetensors(bytes: Uint8Array, where: string): SafetensorsFile {
  const fail = (what: string): never => {
    throw new UserError(`${where}: ${what}; not a valid safetensors file, use an intact copy`)
  }
  if (bytes.length < 8) fail(`truncated, ${bytes.length} bytes`)
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER)) fail(`header length ${length} is more than ${MAX_HEADER}`)
  const start = 8 + Number(length)
  if (start > bytes.length) fail(`truncated, the header needs ${start} bytes and the file has ${bytes.length}`)
  const header = parseHeader(bytes.subarray(8, start), fail)
  const size = bytes.length - start

  const ranges: { name: string; begin: number; end: number }[] = []
  const tensors = new Map<string, SafetensorsEntry>()
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isObject(value) || Object.values(value).some((text) => typeof text !== 'string')) {
        fail('__metadata__ is not a map of strings')
      }
      metadata = value as Record<string, string>
      continue
    }
    const { dtype, shape, begin, end } = checkEntry(name, value, fail)
    if (end > size) fail(`truncated, tensor ${quote(name)} ends at byte ${end} of ${size} bytes of data`)
    const data = new ARRAYS[dtype](bytes.slice(start + begin, start + end).buffer as ArrayBuffer)
    tensors.set(name, { dtype, shape, data })
    ranges.push({ name, begin, end })
  }

  ranges.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let previous = 0
  for (const { name, begin, end } of ranges) {
    if (begin !== previous) fail(`tensor ${quote(name)} ${begin < previous ? 'overlaps another' : 'leaves a gap before it'}`)
    previous = end
  }
  if (previous !== size) fail(`${size - previous} bytes of data belong to no tensor`)
  return { tensors, metadata }
}

type Fail = (what: string) => never

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    return fail(`bad JSON header (${reason(error).slice(0, 80)})`)
  }
  return isObject(header) ? header : fail('the JSON header is no object')
}

function checkEntry(name: string, value: unknown, fail: Fail) {
  const label = `tensor ${quote(name)}`
  if (!isObject(value)) return fail(`${label} is no object`)
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string' || !Object.hasOwn(ARRAYS, dtype)) {
    return fail(`${label} has dtype ${quote(dtype)}, known are ${Object.keys(ARRAYS).join(', ')}`)
  }
  if (!isIndexList(shape)) return fail(`${label} has a bad shape`)
  if (!isIndexList(offsets) || offsets.length !== 2) return fail(`${label} has bad data_offsets`)
  const [begin, end] = offsets as [number, number]
  const known = dtype as SafetensorsDtype
  const needed = product(shape) * elementBytes(known)
  if (end - begin !== needed) {
    return fail(`${label} is ${dtype} [${shape.join(', ')}], which needs ${needed} bytes, but has ${end - begin}`)
  }
  return { dtype: known, shape, begin, end }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isIndexList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

function elementBytes(dtype: SafetensorsDtype): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, dim) => total * dim, 1)
}

/** A value from a file for a message: short and on one line. */
function quote(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').slice(0, 80)
}
