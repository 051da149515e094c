import { createHash } from 'node:crypto'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { files } from '#platform'
import { reason, UserError } from '../../engine/base/errors.ts'
import type { RemoteFile } from './remote.ts'

export interface DownloadOptions {
  /** Protocols of addresses and redirections; default https alone. */
  protocols?: readonly string[]
  /** Milliseconds without a byte after which a connection is given up; default 30,000. */
  patience?: number
  /** Number of times that an interrupted download is resumed; default 3. */
  retries?: number
  /** Milliseconds before the first resumption, which grow with each; default 1000. */
  pause?: number
}

const MAX_REDIRECTS = 5

/** An error that a further try would meet again. */
class Refusal extends Error {}

/**
 * Fetches a file into a folder under its own name. It appears there whole, with its known size and checksum, or not at all. An
 * interrupted download is resumed.
 * @returns the path
 * @throws UserError in one line when the network, the address, the size, the checksum or the folder fails
 */
export async function downloadFile(remote: RemoteFile, folder: string, options: DownloadOptions = {}): Promise<string> {
  const path = join(folder, basename(new URL(remote.url).pathname))
  let failure: unknown
  const content = async function* () {
    try {
      yield* checked(remote, pieces(remote, options))
    } catch (error) {
      failure = error
      throw error
    }
  }
  try {
    await files.write(path, content())
    return path
  } catch (error) {
    if (failure === undefined) throw error
    const cause = failure instanceof Error && failure.cause ? `, ${reason(failure.cause)}` : ''
    throw new UserError(
      `${remote.url}: download failed (${reason(failure)}${cause}); nothing was kept, try again or fetch it by hand into ${folder}`,
    )
  }
}

/** Passes bytes on. @throws Refusal for a wrong size or checksum */
async function* checked({ bytes, sha256 }: RemoteFile, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let length = 0
  for await (const piece of content) {
    length += piece.length
    if (length > bytes) throw new Refusal(`it is longer than the ${bytes} bytes that it must have`)
    hash.update(piece)
    yield piece
  }
  if (length < bytes) throw new Refusal(`it has ${length} bytes, not ${bytes}`)
  const found = hash.digest('hex')
  if (found !== sha256) throw new Refusal(`its SHA-256 is ${found}, not ${sha256}`)
}

/** Yields the bytes of a file, over as many connections as it takes. */
async function* pieces({ url, bytes }: RemoteFile, options: DownloadOptions): AsyncGenerator<Uint8Array> {
  const { retries = 3, pause = 1000 } = options
  let at = 0
  for (let attempt = 0; ; attempt++) {
    try {
      for await (const piece of connection(url, at, bytes, options)) {
        at += piece.length
        yield piece
      }
      if (at >= bytes) return
      throw new Error(`it ended after ${at} of ${bytes} bytes`)
    } catch (error) {
      if (error instanceof Refusal || attempt >= retries) throw error
      await sleep(pause * (attempt + 1))
    }
  }
}

/** Yields the bytes of one response, from byte `from` on. */
async function* connection(url: string, from: number, bytes: number, options: DownloadOptions): AsyncGenerator<Uint8Array> {
  const { patience = 30_000 } = options
  const abort = new AbortController()
  const giveUp = () => abort.abort(new Error(`no byte for ${patience / 1000} s`))
  let timer = setTimeout(giveUp, patience)
  try {
    const response = await request(url, from, abort.signal, options)
    const partial = response.status === 206
    const length = Number(response.headers.get('content-length') ?? bytes - (partial ? from : 0))
    if (length + (partial ? from : 0) > bytes) throw new Refusal(`the server offers ${length} bytes, and it must have ${bytes}`)
    // A server without ranges sends the first bytes again.
    let skip = partial ? 0 : from
    for await (const piece of response.body ?? []) {
      clearTimeout(timer)
      timer = setTimeout(giveUp, patience)
      const rest = piece.subarray(Math.min(skip, piece.length))
      skip -= piece.length - rest.length
      if (rest.length > 0) yield rest
    }
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}

/** Requests a file, and follows redirections. */
async function request(url: string, from: number, signal: AbortSignal, options: DownloadOptions): Promise<Response> {
  const { protocols = ['https:'] } = options
  let address = new URL(url)
  for (let i = 0; i <= MAX_REDIRECTS; i++) {
    if (!protocols.includes(address.protocol))
      throw new Refusal(`${address.origin} is not asked, only ${protocols.join(' and ')}//`)
    // The bytes must come as they are stored, since they are counted.
    const headers = { 'accept-encoding': 'identity', ...(from > 0 && { range: `bytes=${from}-` }) }
    const response = await fetch(address, { redirect: 'manual', signal, headers })
    const { status } = response
    if (status === 200 || status === 206) return response
    await response.body?.cancel()
    const to = response.headers.get('location')
    if (status < 300 || status >= 400 || to === null) {
      // A busy or broken server may recover.
      throw status >= 500 || status === 429 ? new Error(`HTTP ${status}`) : new Refusal(`HTTP ${status}`)
    }
    address = new URL(to, address)
  }
  throw new Refusal(`more than ${MAX_REDIRECTS} redirections`)
}
