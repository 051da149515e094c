import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { FileError } from '../../engine/base/errors.ts'
import { fileError } from '../../engine/platform/files.ts'

/** Bytes that are read at once, from the end of a file. */
const CHUNK = 64 << 10

/** What has no line end in so many bytes is nothing that this project wrote. */
const LONGEST = 1 << 20

/** Characters that wait to be written, at most: some 50,000 lines. */
const MOST_WAITING = 16 << 20

/** Milliseconds from a failure to the next try, unless it is asked for. */
const PAUSE = 1000

/**
 * A text file to which lines are appended, and that is never written anew. What cannot be appended (a full disk, a folder that was moved)
 * waits and is tried again with the next line, so that nothing is missing when the file can be written again.
 */
export class LineFile {
  readonly path: string
  readonly #say: (text: string) => void
  #waiting: string[] = []
  #size = 0
  /** Lines that were too many to wait. */
  #dropped = 0
  #writing: Promise<void> = Promise.resolve()
  /** A write that has not begun, and will take all that waits then. */
  #next: Promise<void> | undefined
  #failure: unknown
  #nextTry = 0
  /** The file may end in the middle of a line. */
  #ragged = false

  private constructor(path: string, say: (text: string) => void) {
    this.path = path
    this.#say = say
  }

  /**
   * Opens a file for appending; it is made if it is missing. Lines at its end that `isStale` are cut off, and so is a last line that a
   * killed process did not finish; nothing else of it is read.
   * @param say told when lines have to wait, and when they are written
   * @throws FileError when it cannot be read and written
   */
  static async open(path: string, isStale: (line: string) => boolean, say: (text: string) => void): Promise<LineFile> {
    const lines = new LineFile(path, say)
    await lines.cut(isStale)
    return lines
  }

  /** Cuts off lines at the end that `isStale`, those that wait included. @throws FileError when the file cannot be read and written */
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

  /** Appends a line, some time soon. */
  append(line: string): void {
    this.#waiting.push(`${line}\n`)
    this.#size += line.length + 1
    while (this.#size > MOST_WAITING && this.#waiting.length > 1) {
      this.#size -= this.#waiting.shift()!.length
      this.#dropped++
    }
    if (this.#failure === undefined || performance.now() >= this.#nextTry) void this.flush()
  }

  /** Settles when all lines are written or have to wait. */
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

  /** Puts on the disk itself what was written. */
  async sync(): Promise<void> {
    await this.flush()
    const file = await open(this.path, 'r').catch(() => undefined)
    await file?.datasync().catch(() => {})
    await file?.close()
  }

  /** Writes what waits. @throws FileError when it cannot be written, with how many lines are missing */
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
        // A part may have fitted, and would be there twice when all is tried again.
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

/** Where the part of a file ends that is to be kept, and whether that is in the middle of a line. Reads from the end. */
async function keptPart(
  file: FileHandle,
  size: number,
  isStale: (line: string) => boolean,
): Promise<{ end: number; ragged: boolean }> {
  // The bytes [start, end) are in `bytes`; all after them is to be cut off.
  let [start, end, bytes] = [size, size, Buffer.alloc(0)]
  /** The last line has no end: it was cut short, or somebody else wrote it. */
  let open = true
  while (end > 0) {
    const searched = open ? end - start : end - start - 1
    const at = searched > 0 ? bytes.lastIndexOf(10, searched - 1) : -1
    if (at < 0 && start > 0) {
      if (end - start > LONGEST) return { end, ragged: open }
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
