import { UserError } from '../../../engine/index.ts'

/** Bytes before each part of a message: number of the message, number of the part, bytes of the whole message. */
const HEAD = 12
/** Bytes of a part at most, below the server's limit for a message and small enough that others get their turn. */
const PART = 256 * 1024

/** Cuts messages into parts that a server takes. */
export class Cutter {
  #messages = 0

  /** Returns the parts of a message, in order. */
  cut(message: Uint8Array): Uint8Array[] {
    const number = this.#messages++
    const parts: Uint8Array[] = []
    let at = 0
    do {
      const bytes = message.subarray(at, at + PART)
      const part = new Uint8Array(HEAD + bytes.length)
      const head = new DataView(part.buffer)
      head.setUint32(0, number, true)
      head.setUint32(4, parts.length, true)
      head.setUint32(8, message.length, true)
      part.set(bytes, HEAD)
      parts.push(part)
      at += PART
    } while (at < message.length)
    return parts
  }
}

/** Joins the parts of messages, which must come in order and without a gap. */
export class Joiner {
  readonly #limit: number
  #next = 0
  #message: Uint8Array | undefined
  #parts = 0
  #at = 0

  /** @param limit bytes of the largest message that is taken */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Takes a part. @returns the message, when this is its last part
   * @throws UserError for a part that is not the next one, and for a message that is too large, before memory is taken for it
   */
  join(part: Uint8Array): Uint8Array | undefined {
    if (part.length < HEAD) throw new UserError(`a message has ${part.length} bytes, fewer than its head`)
    const head = new DataView(part.buffer, part.byteOffset, part.length)
    const [number, index, size] = [head.getUint32(0, true), head.getUint32(4, true), head.getUint32(8, true)]
    if (number !== this.#next || index !== this.#parts)
      throw new UserError(`part ${index} of message ${number} came in place of part ${this.#parts} of message ${this.#next}`)
    if (size > this.#limit) throw new UserError(`a message has ${size} bytes; at most ${this.#limit} are taken`)
    const bytes = part.subarray(HEAD)
    const expected = Math.min(PART, size - this.#at)
    if (bytes.length !== expected)
      throw new UserError(`part ${index} of message ${number} has ${bytes.length} bytes, not ${expected}`)
    this.#message ??= new Uint8Array(size)
    this.#message.set(bytes, this.#at)
    this.#at += bytes.length
    this.#parts++
    if (this.#at < size) return undefined
    const message = this.#message
    this.#message = undefined
    this.#next++
    this.#parts = 0
    this.#at = 0
    return message
  }
}
