import { constants, fstatSync, write as writeTo } from 'node:fs'
import { access, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Destination } from './destination.ts'
import type { Content } from './types.ts'

type Pipe = Exclude<Destination, { kind: 'file' }>

/** Milliseconds between two attempts to open a pipe that has no reader, or to write into a full one. */
const PAUSE = 10

/** The most bytes to write in one call; systems take at most 2 GiB. */
const MOST = 64 << 20

const write = promisify(writeTo) as (fd: number, bytes: Uint8Array) => Promise<{ bytesWritten: number }>

/** Writes into a pipe, a device or an open file. It waits until a pipe has a reader. */
export async function writeToPipe(to: Pipe, content: Content): Promise<void> {
  if (to.kind === 'descriptor') return writeAll(to.fd, content)
  const file = await openPipe(to)
  try {
    await writeAll(file.fd, content)
  } finally {
    await file.close()
  }
}

/** @throws an error of the file system where nothing can be written */
export async function checkPipe(to: Pipe): Promise<void> {
  if (to.kind === 'descriptor') fstatSync(to.fd)
  else await access(to.path, constants.W_OK)
}

async function openPipe({ path, fifo }: Pipe & { kind: 'pipe' }) {
  // A blocking open would wait for a reader in a thread, which would keep the process from ending. So the open
  // does not block, and it is tried again until the pipe has a reader.
  const flags = constants.O_WRONLY | constants.O_NOCTTY | (fifo ? constants.O_NONBLOCK : 0)
  for (;;) {
    try {
      return await open(path, flags)
    } catch (error) {
      if (!fifo || (error as { code?: string }).code !== 'ENXIO') throw error
      await sleep(PAUSE)
    }
  }
}

/** Writes into an open file at its current position. */
export async function writeAll(fd: number, content: Content): Promise<void> {
  for await (const piece of piecesOf(content)) {
    for (let at = 0; at < piece.length; ) at += await writeSome(fd, piece.subarray(at, at + MOST))
  }
}

async function writeSome(fd: number, bytes: Uint8Array): Promise<number> {
  try {
    return (await write(fd, bytes)).bytesWritten
  } catch (error) {
    if ((error as { code?: string }).code !== 'EAGAIN') throw error
    await sleep(PAUSE)
    return 0
  }
}

function piecesOf(content: Content): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof content === 'string') return [Buffer.from(content)]
  return ArrayBuffer.isView(content) ? [content as Uint8Array] : content
}
