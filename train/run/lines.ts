import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { FileError } from '../../engine/base/errors.ts'
import { fileError } from '../../engine/platform/files.ts'

/** Bytes that are read at once when a file is searched from its end. */
const CHUNK = 64 << 10

/** Bytes of the longest line; this project writes no longer ones. */
const MAX_LINE = 1 << 20

/** Largest number of characters of the lines that wait to be written. */
const MAX_WAITING = 16 << 20

/** Milliseconds from a failure to the next try of `append`. */
const PAUSE = 1000

/**
 * A text file to which lines are appended, and that is never rewritten. Lines that cannot be appended (a full disk, a folder that was
 * moved) wait and are tried again with the next line, so that none is missing when the file can be written again.
 */
export class LineFile {
  readonly path: string
  readonly #say: (text: string) => void
  #waiting: string[] = []
  #size = 0
  /** Number of lines that were dropped because too many waited. */
  #dropped = 0
  #writing: Promise<void> = Promise.resolve()
  /** A write that has not begun; it takes all lines that wait when it begins. */
  #next: Promise<void> | undefined
  #failure: unknown
  #nextTry = 0
  /** Whether the file may end in the middle of a line. */
  #ragged = false

  private constructor(path: string, say: (text: string) => void) {
    this.path = path
    this.#say = say
  }

  /**
   * Opens a file for appending, or makes it. Stale lines at its end are cut off, and so is a last line that a killed process did not
   * finish. The rest of the file is not read.
   * @param isStale whether a line is to be cut off
   * @param say is called when lines must wait, and when they are written
   * @throws FileError when the file cannot be read and written
   */
  static async open(path: string, isStale: (line: string) => boolean, say: (text: string) => void): Promise<LineFile> {
    const lines = new LineFile(path, say)
    await lines.cut(isStale)
    return lines
  }

  /** Cuts off stale lines at the end and among those that wait. @throws FileError when the file cannot be read and written */
  async cut(isStale: (line: string) => boolean): Promise<void> {
    await this.flush()
    this.#waiting = this.#waiting.filter((line) => !isStale(line))
    this.#size = this.#waiting.reduce((sum, { length }) => sum + length, 0)
    try {
      const file = await open(this.path, constants.O_RDWR | constants.O_CREAT)
      try {
        const { size } = await file.stat()
        const { end, ragged } = await keptPart(file, size, isStale)
        if (end < size) await file.truncate(end)
        this.#ragged = ragged
      } finally {
        await file.close()
      }
    } catch (error) {
      throw fileError(this.path, error)
    }
  }

  /** Appends a line in the background. */
  append(line: string): void {
    this.#waiting.push(`${line}\n`)
    this.#size += line.length + 1
    while (this.#size > MAX_WAITING && this.#waiting.length > 1) {
      this.#size -= this.#waiting.shift()!.length
      this.#dropped++
    }
    if (this.#failure === undefined || performance.now() >= this.#nextTry) void this.flush()
  }

  /** Settles when all lines are written or must wait. */
  flush(): Promise<void> {
    if (!this.#next) {
      this.#next = this.#writing.then(() => {
        this.#next = undefined
        return this.#write()
      })
      this.#writing = this.#next
    }
    return this.#next
  }

  /** Flushes, and makes the system put the file's data on the disk. */
  async sync(): Promise<void> {
    await this.flush()
    const file = await open(this.path, 'r').catch(() => undefined)
    await file?.datasync().catch(() => {})
    await file?.close()
  }

  /** Writes the lines that wait. @throws FileError with the number of missing lines when it cannot */
  async close(): Promise<void> {
    await this.flush()
    const missing = this.#waiting.length + this.#dropped
    if (missing === 0) return
    const failure = this.#failure ?? new Error('it could not be written for a while')
    throw new FileError(`${fileError(this.path, failure).message}; ${missing} lines are missing`)
  }

  async #write(): Promise<void> {
    if (this.#waiting.length === 0) return
    const lines = this.#waiting
    this.#waiting = []
    try {
      await this.#append(lines)
      this.#size -= lines.reduce((sum, { length }) => sum + length, 0)
      if (this.#failure !== undefined)
        this.#say(`${this.path}: is written again${this.#dropped ? `, ${this.#dropped} lines are missing` : ''}`)
      this.#failure = undefined
    } catch (error) {
      this.#waiting = [...lines, ...this.#waiting]
      if (this.#failure === undefined) this.#say(`${fileError(this.path, error).message}; lines wait until it can be written`)
      this.#failure = error
      this.#nextTry = performance.now() + PAUSE
    }
  }

  async #append(lines: readonly string[]): Promise<void> {
    const file = await open(this.path, 'a+')
    try {
      const { size } = await file.stat()
      const separator = this.#ragged && size > 0 && !(await endsLine(file, size)) ? '\n' : ''
      this.#ragged = true
      try {
        await file.writeFile(separator + lines.join(''))
      } catch (error) {
        // A part may be written, which would appear twice after the next try.
        await file.truncate(size).catch(() => {})
        throw error
      }
      this.#ragged = false
    } finally {
      await file.close()
    }
  }
}

async function endsLine(file: FileHandle, size: number): Promise<boolean> {
  const { buffer } = await file.read({ buffer: Buffer.alloc(1), position: size - 1 })
  return buffer[0] === 10
}

/** Finds the exclusive end of the part of a file to keep, and whether that part ends in the middle of a line. Reads from the end. */
async function keptPart(
  file: FileHandle,
  size: number,
  isStale: (line: string) => boolean,
): Promise<{ end: number; ragged: boolean }> {
  // `bytes` holds the bytes [start, end) of the file; everything after them is to be cut off.
  let [start, end, bytes] = [size, size, Buffer.alloc(0)]
  /** Whether the last line has no line end: it was cut short, or another program wrote it. */
  let open = true
  while (end > 0) {
    const searched = open ? end - start : end - start - 1
    const at = searched > 0 ? bytes.lastIndexOf(10, searched - 1) : -1
    if (at < 0 && start > 0) {
      if (end - start > MAX_LINE) return { end, ragged: open }
      const length = Math.min(CHUNK, start)
      const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(length), position: start - length })
      if (bytesRead < length) throw new Error('it became shorter')
      start -= length
      bytes = Buffer.concat([buffer, bytes])
      continue
    }
    const line = bytes.toString('utf8', at + 1, end - start)
    const cutShort = open && !isJson(line)
    if (line.trim() !== '' && !cutShort && !isStale(line)) return { end, ragged: open }
    end = start + at + 1
    bytes = bytes.subarray(0, at + 1)
    open = false
  }
  return { end: 0, ragged: false }
}

/** Whether a text is JSON. */
export function isJson(line: string): boolean {
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}
