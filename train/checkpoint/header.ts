import { reason, UserError } from '../../engine/base/errors.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { elementBytes, isKnown } from './dtypes.ts'
import { duplicateKey } from './duplicateKeys.ts'

/** Bytes before the header, which hold its length, little-endian. */
export const PREFIX = 8

/** Bytes of the longest header, as in the reference implementation. */
export const MAX_HEADER = 100_000_000

export const METADATA = '__metadata__'

/** The place of a tensor in the data after the header. */
export interface Location {
  /** The dtype as the file names it, known or not. */
  dtype: string
  shape: number[]
  /** Byte at which the tensor begins. */
  begin: number
  /** Exclusive end, in bytes. */
  end: number
}

export interface Header {
  /** Places by name, in the order of the data. */
  tensors: Map<string, Location>
  metadata: Record<string, string>
}

/** Throws a UserError in one line that refuses a file. */
export type Fail = (what: string) => never

/** Makes the `Fail` of a file. @param where the file's name, which starts the message */
export function failIn(where: string): Fail {
  return (what) => {
    throw new UserError(
      `${where}: ${what.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')}; not a valid safetensors file, use an intact copy`,
    )
  }
}

/**
 * Reads the length of a file's header.
 * @param prefix the file's first 8 bytes, or all if it has fewer
 * @param size bytes of the file
 */
export function headerLength(prefix: Uint8Array, size: number, fail: Fail): number {
  if (size < PREFIX) fail(`truncated, ${size} bytes`)
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX).getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER)) fail(`header length ${length} is more than ${MAX_HEADER}`)
  const start = PREFIX + Number(length)
  if (start > size) fail(`truncated, the header needs ${start} bytes and the file has ${size}`)
  return Number(length)
}

/**
 * Parses a header. Tensors must fill the data without gap or overlap. The size of a tensor of unknown dtype is not checked.
 * @param bytes the header
 * @param size bytes of the data after it
 */
export function parseHeader(bytes: Uint8Array, size: number, fail: Fail): Header {
  const { [METADATA]: metadata = {}, ...entries } = parseJson(bytes, fail)
  if (!isStringMap(metadata)) return fail(`${METADATA} is not a map of strings`)
  const layout = Object.entries(entries)
    .map(([name, value]) => [name, checkEntry(name, value, fail)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  let previous = 0
  for (const [name, { begin, end }] of layout) {
    if (end > size) fail(`truncated, tensor ${quote(name)} ends at byte ${end} of ${size} bytes of data`)
    if (begin !== previous) fail(`tensor ${quote(name)} ${begin < previous ? 'overlaps another' : 'leaves a gap before it'}`)
    previous = end
  }
  if (previous !== size) fail(`${size - previous} bytes of data belong to no tensor`)
  return { tensors: new Map(layout), metadata }
}

function parseJson(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    header = JSON.parse(text)
  } catch (error) {
    return fail(`bad JSON header (${reason(error).slice(0, 80)})`)
  }
  if (!isObject(header)) return fail('the JSON header is no object')
  if (text[0] !== '{') return fail('the header does not begin with {')
  const twice = duplicateKey(text)
  return twice === undefined ? header : fail(`the header has ${quote(twice)} twice`)
}

function checkEntry(name: string, value: unknown, fail: Fail): Location {
  const label = `tensor ${quote(name)}`
  if (!isObject(value)) return fail(`${label} is no object`)
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string') return fail(`${label} has dtype ${quote(dtype)}, which is no text`)
  if (!isIndexList(shape)) return fail(`${label} has a bad shape`)
  if (!isIndexList(offsets) || offsets.length !== 2) return fail(`${label} has bad data_offsets`)
  const [begin, end] = offsets as [number, number]
  if (end < begin) return fail(`${label} ends at byte ${end}, before it begins at ${begin}`)
  if (isKnown(dtype)) {
    const needed = sizeOf(shape) * elementBytes(dtype)
    // This refuses an inexact product (or Infinity times 0) too, since no file has 2^53 bytes.
    if (end - begin !== needed) {
      return fail(`${label} is ${dtype} ${quote(shape)}, which needs ${needed} bytes, but has ${end - begin}`)
    }
  }
  return { dtype, shape, begin, end }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isStringMap(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every((text) => typeof text === 'string')
}

/** Whether a value is a list of whole numbers from 0 to 2^53 - 1. */
export function isIndexList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

/** Shows a value from a file in a message: short, on one line, and no deeper than a list of numbers. */
export function quote(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  return Array.isArray(value) && value.length <= 16 && value.every((item) => typeof item === 'number')
    ? `[${value.join(', ')}]`
    : `a ${Array.isArray(value) ? 'list' : typeof value}`
}
