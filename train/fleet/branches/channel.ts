import type { NatsConnection } from '@nats-io/transport-node'
import { reason } from '../../../engine/index.ts'
import type { ModuleProcess } from '../../../engine/platform/types.ts'
import { Cutter, Joiner } from './frames.ts'
import { MAX_BRANCH_MESSAGE, type OpenRequest, sessionSubject } from './protocol.ts'
import { pack, unpack } from './wire.ts'

/** Bytes that went over the wire, heads of parts and of NATS left out. */
export interface WireBytes {
  sent: number
  received: number
}

export interface ChannelParts {
  connection: NatsConnection
  host: string
  request: OpenRequest
  /** Which end this is: the host of branches, or who asked for them. */
  side: 'host' | 'asker'
  onMessage(message: unknown): void
  /** Is called when a part of a message came that is not whole yet: the other side lives, and its message is large or the network slow. */
  onPart?(): void
}

/**
 * Messages of a session over NATS, in order. A connection that was lost may have lost parts, so the session ends with it, as it does with
 * any part that is missing, damaged or too large.
 */
export class SessionChannel implements ModuleProcess {
  readonly name: string
  readonly ended: Promise<string>
  readonly bytes: WireBytes = { sent: 0, received: 0 }
  readonly #parts: ChannelParts
  readonly #out: string
  readonly #cutter = new Cutter()
  readonly #joiner = new Joiner(MAX_BRANCH_MESSAGE)
  readonly #close: () => void
  #settle: (how: string) => void = () => {}
  #how: string | undefined

  constructor(parts: ChannelParts) {
    const { connection, host, request, side } = parts
    const [incoming, outgoing] = side === 'host' ? (['in', 'out'] as const) : (['out', 'in'] as const)
    this.#parts = parts
    this.name = `worker ${host}`
    this.#out = sessionSubject(host, request.session, outgoing)
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
    const subscription = connection.subscribe(sessionSubject(host, request.session, incoming), {
      callback: (error, message) => {
        if (error) this.#end(`failed: ${reason(error)}`)
        else this.#receive(message.data)
      },
    })
    const status = connection.status()
    this.#close = () => {
      subscription.unsubscribe()
      ;(status as { stop?(): void }).stop?.()
    }
    void this.#follow(status)
  }

  send(message: unknown): void {
    if (this.#how !== undefined) return
    const { connection, request } = this.#parts
    // States must come back with the same bits.
    const exact = isState(message)
    const packed = pack(message, { halves: request.halves && !exact, plane: exact ? undefined : request.plane })
    this.bytes.sent += packed.length
    try {
      for (const part of this.#cutter.cut(packed)) connection.publish(this.#out, part)
    } catch (error) {
      this.#end(`cannot be reached: ${reason(error)}`)
    }
  }

  kill(): void {
    this.#end('was given up')
  }

  async end(): Promise<void> {
    if (this.#how !== undefined) return
    this.send({ close: true })
    await this.#parts.connection.flush().catch(() => {})
    this.#end('was closed')
  }

  #receive(data: Uint8Array): void {
    if (this.#how !== undefined) return
    this.bytes.received += data.length
    try {
      const packed = this.#joiner.join(data)
      if (!packed) {
        this.#parts.onPart?.()
        return
      }
      const message = unpack(packed)
      if ((message as { close?: unknown } | null)?.close === true) this.#end('closed the session')
      else this.#parts.onMessage(message)
    } catch (error) {
      this.#end(`sent what cannot be read: ${reason(error)}`)
    }
  }

  async #follow(status: AsyncIterable<{ type: string }>): Promise<void> {
    for await (const { type } of status)
      if (type === 'disconnect' || type === 'close') this.#end('is cut off: the connection to the server was lost')
  }

  #end(how: string): void {
    if (this.#how !== undefined) return
    this.#how = how
    this.#close()
    this.#settle(how)
  }
}

/** Whether a message holds states of parameters, which no rounding may touch. */
function isState(message: unknown): boolean {
  const { open, method, value } = message as { open?: unknown; method?: string; value?: unknown }
  return (
    open !== undefined ||
    method === 'update' ||
    value instanceof Map ||
    (value as { parameters?: unknown } | undefined)?.parameters !== undefined
  )
}
