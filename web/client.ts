import { PendingCalls, type Reply } from '../train/pendingCalls.ts'
import type { Calls, Told } from './protocol.ts'

/** The worker as the page calls it. */
export class Client {
  readonly #pending = new PendingCalls<unknown>()
  readonly #worker: Worker

  /** @param onTold is called with what the worker tells without being asked */
  constructor(onTold: (message: Told) => void) {
    this.#worker = new Worker('worker.js', { type: 'module' })
    this.#worker.addEventListener('message', ({ data }: MessageEvent<{ told: Told } | { reply: Reply<unknown> }>) => {
      if ('told' in data) onTold(data.told)
      else this.#pending.settle(data.reply)
    })
    this.#worker.addEventListener('error', (event) =>
      this.#pending.fail(new Error(event.message || 'the worker did not start')),
    )
  }

  /** Calls a function of the worker. Rejects with its error. */
  call<N extends keyof Calls>(name: N, ...args: Parameters<Calls[N]>): ReturnType<Calls[N]> {
    return this.#pending.call((id) => this.#worker.postMessage({ id, name, args })) as ReturnType<Calls[N]>
  }
}
