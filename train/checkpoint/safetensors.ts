import { reason, UserError } from '../../engine/errors.ts'
import { ARRAYS, elementBytes, type SafetensorsData, type SafetensorsDtype } from './dtypes.ts'

export type { SafetensorsData, SafetensorsDtype } from './dtypes.ts'

/** One tensor of a file, row-major. F16 and BF16 travel as raw 16-bit words, BOOL as bytes; see `toFloat32`. */
export interface SafetensorsEntry {
  dtype: SafetensorsDtype
  shape: number[]
  data: SafetensorsData
}

export interface SafetensorsFile {
  tensors: Map<string, SafetensorsEntry>
  metadata: Record<string, string>
}

/** The reference implementation refuses longer headers too. */
const MAX_HEADER = 100_000_000

const METADATA = '__metadata__'

/**
 * Encodes tensors in the safetensors format: 8 bytes of header length, a JSON header padded to 8, the data. Tensors lie in
 * the reference implementation's order (wide dtypes first, then by name), which keeps every one aligned and makes the bytes
 * a function of the content alone.
 * @throws UserError when a shape and its data disagree, or a name is the reserved `__metadata__`
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const entries = [...tensors].sort(([nameA, a], [nameB, b]) => byDtype(a.dtype, b.dtype) || byCodePoint(nameA, nameB))
  // Joined by hand, since an object would put names like "0" first.
  const header = metadata ? [`"${METADATA}":${JSON.stringify(metadata)}`] : []
  let end = 0
  for (const [name, { dtype, shape, data }] of entries) {
    if (name === METADATA) throw new UserError(`a tensor cannot be named ${METADATA}; choose another name`)
    const bytes = product(shape) * elementBytes(dtype)
    if (!isIndexList(shape) || !(data instanceof ARRAYS[dtype]) || data.byteLength !== bytes) {
      throw new UserError(`tensor ${name}: ${data.constructor.name}(${data.length}) is not ${dtype} [${shape.join(', ')}]`)
    }
    header.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [end, end + bytes] })}`)
    end += bytes
  }
  const json = new TextEncoder().encode(`{${header.join()}}`)
  const headerLength = Math.ceil(json.length / 8) * 8
  if (headerLength > MAX_HEADER) {
    throw new UserError(`names and metadata take ${headerLength} bytes, more than ${MAX_HEADER}; save less metadata`)
  }
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
 * Decodes a safetensors file; every tensor gets its own memory. Tensors must fill the data without gap or overlap.
 * @param where the file's name, which starts every error message
 * @throws UserError in one line for anything malformed
 */
export function decodeSafetensors(bytes: Uint8Array, where: string): SafetensorsFile {
  const fail = (what: string): never => {
    throw new UserError(
      `${where}: ${what.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')}; not a valid safetensors file, use an intact copy`,
    )
  }
  if (bytes.length < 8) fail(`truncated, ${bytes.length} bytes`)
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER)) fail(`header length ${length} is more than ${MAX_HEADER}`)
  const start = 8 + Number(length)
  if (start > bytes.length) fail(`truncated, the header needs ${start} bytes and the file has ${bytes.length}`)
  const { [METADATA]: metadata = {}, ...entries } = parseHeader(bytes.subarray(8, start), fail)
  if (!isStringMap(metadata)) return fail(`${METADATA} is not a map of strings`)

  const size = bytes.length - start
  const layout = Object.entries(entries)
    .map(([name, value]) => ({ name, ...checkEntry(name, value, fail) }))
    .sort((a, b) => a.begin - b.begin || a.end - b.end)
  let previous = 0
  for (const { name, begin, end } of layout) {
    if (end > size) fail(`truncated, tensor ${quote(name)} ends at byte ${end} of ${size} bytes of data`)
    if (begin !== previous) fail(`tensor ${quote(name)} ${begin < previous ? 'overlaps another' : 'leaves a gap before it'}`)
    previous = end
  }
  if (previous !== size) fail(`${size - previous} bytes of data belong to no tensor`)

  const tensors = new Map<string, SafetensorsEntry>()
  for (const { name, dtype, shape, begin, end } of layout) {
    const data = new ARRAYS[dtype](new Uint8Array(bytes.subarray(start + begin, start + end)).buffer)
    tensors.set(name, { dtype, shape, data })
  }
  return { tensors, metadata }
}

type Fail = (what: string) => never

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
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
  // Also refuses a product that is no longer exact (or Infinity times 0): no file is as long as 2^53 bytes.
  if (end - begin !== needed) {
    return fail(`${label} is ${dtype} ${quote(shape)}, which needs ${needed} bytes, but has ${end - begin}`)
  }
  return { dtype: known, shape, begin, end }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isStringMap(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every((text) => typeof text === 'string')
}

function isIndexList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, dim) => total * dim, 1)
}

const ORDER = Object.keys(ARRAYS)

function byDtype(a: SafetensorsDtype, b: SafetensorsDtype): number {
  return ORDER.indexOf(a) - ORDER.indexOf(b)
}

/** The order of the UTF-8 bytes, which differs from that of UTF-16 words beyond the basic plane. */
function byCodePoint(a: string, b: string): number {
  const [left, right] = [new TextEncoder().encode(a), new TextEncoder().encode(b)]
  const at = left.findIndex((byte, i) => byte !== right[i])
  return at < 0 ? left.length - right.length : left[at]! - (right[at] ?? -1)
}

/** A value from a file for a message: short, on one line, and never parsed deeper than a list of numbers. */
function quote(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  return Array.isArray(value) && value.length <= 16 && value.every((item) => typeof item === 'number')
    ? `[${value.join(', ')}]`
    : `a ${Array.isArray(value) ? 'list' : typeof value}`
}
