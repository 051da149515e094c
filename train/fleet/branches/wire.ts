import { UserError } from '../../../engine/index.ts'
import { fromHalves, toHalves } from '../../../kernels/half.ts'

/** Bytes before the JSON of a message: its length. */
const HEAD = 4
/** Most distinct values of a plane of an image that are sent as a palette. */
const PALETTE = 256
/** The largest exponent, either sign, by which numbers are scaled. */
const MAX_EXPONENT = 126
/** The deepest nesting of a message that is read. */
const DEPTH = 8

/** The types of arrays that a message may contain. */
const ARRAYS = { Float32Array, Int32Array, Uint32Array, Uint8Array } as const
type ArrayName = keyof typeof ARRAYS
type AnyArray = Float32Array | Int32Array | Uint32Array | Uint8Array

/**
 * A place of the JSON where an array belongs. Halves are float32 numbers that travel as float16, times 2^exponent; planes are images by
 * palettes.
 */
type Placed =
  | { $array: ArrayName; at: number; length: number }
  | { $halves: number; length: number; exponent: number }
  | { $planes: number; palettes: number; planes: number; width: number; length: number }

export interface PackOptions {
  /** Whether float32 arrays travel as float16, but for images and states. */
  halves?: boolean
  /** Pixels of a plane of an image: arrays of these that have few distinct values travel as bytes. */
  plane?: number | undefined
}

/**
 * Packs a message: JSON, then the numbers of its typed arrays in little-endian order, each at a multiple of 4 bytes. Maps, lists,
 * undefined fields and numbers that are not finite come back as they were.
 */
export function pack(message: unknown, { halves = false, plane }: PackOptions = {}): Uint8Array {
  const parts: Uint8Array[] = []
  let size = 0
  const place = (bytes: Uint8Array): number => {
    const at = size
    parts.push(bytes)
    size += Math.ceil(bytes.length / 4) * 4
    return at
  }
  const encode = (value: unknown): unknown => {
    if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) }
    if (typeof value !== 'object' || value === null) return value
    if (ArrayBuffer.isView(value)) return encodeArray(value as AnyArray)
    if (value instanceof Map) return { $map: [...value].map(([key, item]) => [key, encode(item)]) }
    if (Array.isArray(value)) return value.map(encode)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encode(item)]))
  }
  const encodeArray = (array: AnyArray): Placed => {
    const length = array.length
    if (array instanceof Float32Array) {
      const found = plane ? asPlanes(array, plane) : undefined
      if (found)
        return {
          $planes: place(found.pixels),
          palettes: place(bytesOf(found.palettes)),
          planes: found.planes,
          width: plane!,
          length,
        }
      if (halves) {
        const exponent = exponentOf(array)
        return { $halves: place(bytesOf(toHalves(times(array, exponent)))), length, exponent }
      }
    }
    return { $array: array.constructor.name as ArrayName, at: place(bytesOf(array)), length }
  }
  const json = new TextEncoder().encode(JSON.stringify(encode(message)))
  const start = HEAD + Math.ceil(json.length / 4) * 4
  const packed = new Uint8Array(start + size)
  new DataView(packed.buffer).setUint32(0, json.length, true)
  packed.set(json, HEAD)
  let at = start
  for (const part of parts) {
    packed.set(part, at)
    at += Math.ceil(part.length / 4) * 4
  }
  return packed
}

/** Reads a packed message. @throws UserError for one that is malformed */
export function unpack(packed: Uint8Array): unknown {
  const length = packed.length >= HEAD ? new DataView(packed.buffer, packed.byteOffset).getUint32(0, true) : Number.NaN
  const start = HEAD + Math.ceil(length / 4) * 4
  if (!(start <= packed.length)) throw malformed('its head')
  const take = (at: unknown, bytes: number): Uint8Array => {
    const whole = Number.isSafeInteger(at) && (at as number) >= 0 && Number.isSafeInteger(bytes) && bytes >= 0
    if (!whole || start + (at as number) + bytes > packed.length) throw malformed('an array')
    // A copy lies at a multiple of 4 bytes, wherever the message does.
    return packed.slice(start + (at as number), start + (at as number) + bytes)
  }
  const decode = (value: unknown, depth: number): unknown => {
    if (depth > DEPTH) throw malformed('its nesting')
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map((item) => decode(item, depth + 1))
    const fields = value as Record<string, any>
    if ('$number' in fields) return Number(fields.$number)
    if ('$map' in fields) {
      const pairs: unknown = fields.$map
      const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2
      if (!Array.isArray(pairs) || !pairs.every(isPair)) throw malformed('a map')
      return new Map(pairs.map(([key, item]) => [key, decode(item, depth + 1)]))
    }
    if ('$array' in fields) {
      const type = Object.hasOwn(ARRAYS, fields.$array) ? ARRAYS[fields.$array as ArrayName] : undefined
      if (!type) throw malformed('an array')
      return new type(take(fields.at, fields.length * type.BYTES_PER_ELEMENT).buffer as ArrayBuffer)
    }
    if ('$halves' in fields) {
      const { $halves, length, exponent } = fields
      if (!(Number.isInteger(exponent) && Math.abs(exponent) <= MAX_EXPONENT)) throw malformed('an exponent')
      return times(fromHalves(new Uint16Array(take($halves, length * 2).buffer as ArrayBuffer)), -exponent)
    }
    if ('$planes' in fields) return fromPlanes(fields, take)
    return Object.fromEntries(Object.entries(fields).map(([key, item]) => [key, decode(item, depth + 1)]))
  }
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(packed.subarray(HEAD, HEAD + length)))
  } catch {
    throw malformed('its JSON')
  }
  return decode(json, 0)
}

function malformed(what: string): UserError {
  return new UserError(`a message is malformed in ${what}`)
}

/**
 * Returns the exponent of the power of two that brings the largest of some numbers to 2^14 and a little below the limit of float16, so that small
 * numbers keep their digits: gradients are often below 2^-14, where float16 has fewer. 0 for numbers that are all zero, or among which is an infinity.
 */
function exponentOf(values: Float32Array): number {
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!)
    if (size > largest) largest = size
  }
  if (!(largest > 0 && largest < Number.POSITIVE_INFINITY)) return 0
  return Math.max(-MAX_EXPONENT, Math.min(MAX_EXPONENT, 14 - Math.floor(Math.log2(largest))))
}

/** Multiplies by 2^exponent, which changes no digit. */
function times(values: Float32Array, exponent: number): Float32Array {
  if (exponent === 0) return values
  const factor = 2 ** exponent
  const scaled = new Float32Array(values.length)
  for (let i = 0; i < values.length; i++) scaled[i] = values[i]! * factor
  return scaled
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Images as bytes, with the values that the bytes of each plane stand for. */
interface Planes {
  /** A byte for each pixel. */
  pixels: Uint8Array
  /** [planes, 256] */
  palettes: Float32Array
  planes: number
}

/** The planes of images that go to several hosts at once. They are forgotten soon, since an array may hold other images later. */
const known = new WeakMap<Float32Array, Planes | undefined>()

/**
 * Returns images as bytes where each plane, over all images, has at most 256 distinct values, as those of 8-bit files do after they were
 * normalised. Plane p of an image is number p modulo the number of channels.
 */
function asPlanes(images: Float32Array, plane: number): Planes | undefined {
  if (!known.has(images)) {
    known.set(images, findPlanes(images, plane))
    queueMicrotask(() => known.delete(images))
  }
  return known.get(images)
}

function findPlanes(images: Float32Array, plane: number): Planes | undefined {
  if (images.length % plane !== 0) return undefined
  const count = images.length / plane
  const bits = new Uint32Array(images.buffer, images.byteOffset, images.length)
  // Images of one, three or four channels: the smallest number whose planes have few values.
  for (const planes of [1, 3, 4]) {
    if (count % planes !== 0) continue
    const palettes = Array.from({ length: planes }, () => new Palette())
    const pixels = new Uint8Array(images.length)
    const takes = (p: number) =>
      palettes[p % planes]!.index(bits.subarray(p * plane, (p + 1) * plane), pixels.subarray(p * plane))
    if (!Array.from({ length: count }, (_, p) => p).every(takes)) continue
    const values = new Float32Array(planes * PALETTE)
    for (const [p, palette] of palettes.entries()) new Uint32Array(values.buffer).set(palette.values, p * PALETTE)
    return { pixels, palettes: values, planes }
  }
  return undefined
}

/** Slots of the hash table of a palette, a power of two, and the shift that leaves a number of a slot. */
const SLOTS = 1024
const SHIFT = 22

/** The distinct values of a plane, found by a hash table of open addresses. */
class Palette {
  readonly values = new Uint32Array(PALETTE)
  readonly #slots = new Int16Array(SLOTS).fill(-1)
  #size = 0

  /** Writes the index of each value. @returns false once there are too many */
  index(bits: Uint32Array, pixels: Uint8Array): boolean {
    for (let i = 0; i < bits.length; i++) {
      const value = bits[i]!
      // A multiplication by the golden ratio spreads values that differ in few bits.
      let slot = Math.imul(value, 0x9e3779b1) >>> SHIFT
      let found = this.#slots[slot]!
      while (found >= 0 && this.values[found] !== value) {
        slot = (slot + 1) % SLOTS
        found = this.#slots[slot]!
      }
      if (found < 0) {
        if (this.#size === PALETTE) return false
        found = this.#size++
        this.values[found] = value
        this.#slots[slot] = found
      }
      pixels[i] = found
    }
    return true
  }
}

function fromPlanes(fields: Record<string, any>, take: (at: unknown, bytes: number) => Uint8Array): Float32Array {
  const { $planes, palettes, planes, width, length } = fields
  for (const number of [planes, width]) if (!(Number.isSafeInteger(number) && number > 0)) throw malformed('an image')
  const pixels = take($planes, length)
  const values = new Float32Array(take(palettes, planes * PALETTE * 4).buffer as ArrayBuffer)
  const found = new Float32Array(length)
  for (let i = 0; i < length; i++) found[i] = values[(Math.floor(i / width) % planes) * PALETTE + pixels[i]!]!
  return found
}
