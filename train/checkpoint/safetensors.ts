import { checkText, refusal } from '../../engine/base/checks.ts'
import { UserError } from '../../engine/base/errors.ts'
import { kindOf } from '../../engine/base/kind.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { ARRAYS, elementBytes, isKnown, type SafetensorsData, type SafetensorsDtype, type SafetensorsEntry } from './dtypes.ts'
import { failIn, headerLength, isIndexList, isObject, MAX_HEADER, METADATA, PREFIX, parseHeader, quote } from './header.ts'

export type { SafetensorsData, SafetensorsDtype, SafetensorsEntry } from './dtypes.ts'

export interface SafetensorsFile {
  tensors: Map<string, SafetensorsEntry>
  metadata: Record<string, string>
}

/**
 * Encodes tensors in the safetensors format: 8 bytes of header length, a JSON header padded to 8, the data. Tensors lie in
 * the reference implementation's order (wide dtypes first, then by name), which keeps all of them aligned and makes the bytes
 * a function of the content alone.
 * @param tensors entries by name; data of two names is written twice
 * @param metadata texts by name
 * @throws UserError for a file that no reader would accept: names and metadata that are no Unicode texts, the reserved name
 *   `__metadata__`, a dtype that the format lacks, a shape and data that disagree, a header of over 100 MB
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const pieces = encodePieces(tensors, metadata)
  const out = new Uint8Array(pieces.reduce((total, { length }) => total + length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

/** Encodes like `encodeSafetensors`, in consecutive pieces: the header, then views of the data of every tensor. */
export function encodePieces(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array[] {
  if (!(tensors instanceof Map)) throw new UserError(`got ${kindOf(tensors)} as tensors; give a Map of entries by name`)
  checkMetadata(metadata)
  for (const [name, entry] of tensors) checkTensor(name, entry)
  const entries = [...tensors].sort(([nameA, a], [nameB, b]) => byDtype(a.dtype, b.dtype) || byCodePoint(nameA, nameB))
  // The header is joined by hand, since an object would put names like "0" first.
  const header = metadata ? [`"${METADATA}":${JSON.stringify(metadata)}`] : []
  let end = 0
  for (const [name, { dtype, shape, data }] of entries) {
    header.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [end, end + data.byteLength] })}`)
    end += data.byteLength
  }
  const json = new TextEncoder().encode(`{${header.join()}}`)
  const length = Math.ceil(json.length / 8) * 8
  if (length > MAX_HEADER) {
    throw new UserError(`names and metadata take ${length} bytes, more than ${MAX_HEADER}; save less metadata`)
  }
  const first = new Uint8Array(PREFIX + length).fill(0x20)
  new DataView(first.buffer).setBigUint64(0, BigInt(length), true)
  first.set(json, PREFIX)
  return [first, ...entries.flatMap(([, { data }]) => viewsOf(data))]
}

/** Bytes of a view, since no array of bytes has more than 4 GiB. */
const VIEW = 2 ** 30

function viewsOf({ buffer, byteOffset, byteLength }: SafetensorsData): Uint8Array[] {
  return Array.from({ length: Math.ceil(byteLength / VIEW) }, (_, i) => {
    return new Uint8Array(buffer, byteOffset + i * VIEW, Math.min(VIEW, byteLength - i * VIEW))
  })
}

/** Half of a character that takes two words of UTF-16, alone; UTF-8 cannot encode it. */
const LONE_SURROGATE = /\p{Surrogate}/u

/** @throws UserError unless `metadata` is undefined or a plain object of texts, since no reader opens a file with other metadata */
export function checkMetadata(metadata: unknown): void {
  if (metadata === undefined) return
  const fail: (what: string) => never = (what) => {
    throw new UserError(`metadata ${what}; give an object of texts, such as { epoch: '3' }`)
  }
  if (!isObject(metadata) || ![Object.prototype, null].includes(Object.getPrototypeOf(metadata)))
    fail(`are ${kindOf(metadata)}`)
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') fail(`${quote(key)} is ${kindOf(value)}`)
    if (LONE_SURROGATE.test(`${key} ${value}`)) fail(`${quote(key)} is no Unicode text`)
  }
}

/** @throws UserError for a name that no tensor of a file can have */
export function checkName(name: unknown): void {
  if (typeof name !== 'string') throw new UserError(`a tensor is named ${kindOf(name)}; names are texts`)
  if (name === METADATA) throw new UserError(`a tensor cannot be named ${METADATA}; choose another name`)
  if (LONE_SURROGATE.test(name)) throw new UserError(`a tensor is named ${quote(name)}, which is no Unicode text`)
}

function checkTensor(name: string, entry: unknown): void {
  checkName(name)
  const { dtype, shape, data } = (entry ?? {}) as Partial<SafetensorsEntry>
  const label = `tensor ${quote(name)}`
  if (typeof dtype !== 'string' || !isKnown(dtype)) {
    const what =
      typeof entry === 'object' && entry !== null && 'dtype' in entry ? `has dtype ${kindOf(dtype)}` : `is ${kindOf(entry)}`
    throw new UserError(`${label} ${what}; give it a shape, data, and a dtype of ${Object.keys(ARRAYS).join(', ')}`)
  }
  if (!isIndexList(shape)) throw new UserError(`${label} has shape ${kindOf(shape)}; give a list of whole numbers from 0 on`)
  if (!(data instanceof ARRAYS[dtype]) || data.byteLength !== sizeOf(shape) * elementBytes(dtype)) {
    throw new UserError(`${label}: ${kindOf(data)} is not ${dtype} [${shape.join(', ')}]`)
  }
}

/**
 * Decodes a safetensors file; every tensor gets its own memory. Tensors must fill the data without gap or overlap.
 * @param where the file's name, which starts every error message
 * @throws UserError in one line for a malformed file and an unknown dtype; ArgumentError unless `bytes` is a Uint8Array
 */
export function decodeSafetensors(bytes: Uint8Array, where: string): SafetensorsFile {
  if (!(bytes instanceof Uint8Array)) throw refusal('decodeSafetensors', bytes, 'a Uint8Array')
  checkText('decodeSafetensors', where, 'the name of the file')
  const fail = failIn(where)
  const start = PREFIX + headerLength(bytes.subarray(0, PREFIX), bytes.length, fail)
  const header = parseHeader(bytes.subarray(PREFIX, start), bytes.length - start, fail)
  const tensors = new Map<string, SafetensorsEntry>()
  for (const [name, { dtype, shape, begin, end }] of header.tensors) {
    const known = knownDtype(where, name, dtype)
    const data = new ARRAYS[known](new Uint8Array(bytes.subarray(start + begin, start + end)).buffer)
    tensors.set(name, { dtype: known, shape, data })
  }
  return { tensors, metadata: header.metadata }
}

/** Returns a dtype whose values can be read. @throws UserError for any other */
export function knownDtype(where: string, name: string, dtype: string): SafetensorsDtype {
  if (isKnown(dtype)) return dtype
  const known = Object.keys(ARRAYS).join(', ')
  throw new UserError(
    `${where}: tensor ${quote(name)} has dtype ${quote(dtype)}, known are ${known}; convert it to one of them`,
  )
}

const ORDER = Object.keys(ARRAYS)

function byDtype(a: SafetensorsDtype, b: SafetensorsDtype): number {
  return ORDER.indexOf(a) - ORDER.indexOf(b)
}

/** Compares by UTF-8 bytes, whose order differs from that of UTF-16 words beyond the basic plane. */
function byCodePoint(a: string, b: string): number {
  const [left, right] = [new TextEncoder().encode(a), new TextEncoder().encode(b)]
  const at = left.findIndex((byte, i) => byte !== right[i])
  return at < 0 ? left.length - right.length : left[at]! - (right[at] ?? -1)
}
