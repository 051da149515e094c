import { PendingCalls, type Reply } from '../train/pendingCalls.ts'

/** Functions of a worker, all asynchronous. */
type Functions<C> = { [N in keyof C]: (...args: never[]) => Promise<unknown> }

/** A worker as the page calls it. */
export class Client<C extends Functions<C>, T> {
  readonly #pending = new PendingCalls<unknown>()
  readonly #worker: Worker

  /** @param onTold is called with what the worker tells without being asked */
  constructor(script: string, onTold: (message: T) => void) {
    this.#worker = new Worker(script, { type: 'module' })
    this.#worker.addEventListener('message', ({ data }: MessageEvent<{ told: T } | { reply: Reply<unknown> }>) => {
      if ('told' in data) onTold(data.told)
      else this.#pending.settle(data.reply)
    })
    this.#worker.addEventListener('error', (event) =>
      this.#pending.fail(
        new Error(
          event.message ||
            `a part of this page did not load (${script}); reload it. Its host must serve every file of the page, scripts as JavaScript`,
        ),
      ),
    )
  }

  /** Calls a function of the worker. Rejects with its error. */
  call<N extends keyof C>(name: N, ...args: Parameters<C[N]>): ReturnType<C[N]> {
    return this.#pending.call((id) => this.#worker.postMessage({ id, name, args })) as ReturnType<C[N]>
  }

  /** Ends the worker at once; pending calls reject with the reason. */
  end(reason: string): void {
    this.#worker.terminate()
    this.#pending.fail(new Error(reason))
  }
}
