import { connectFleet } from '../../train/fleet/connect.ts'
import { Dispatcher } from '../../train/fleet/dispatcher.ts'
import type { Machine } from '../../train/fleet/machine.ts'
import { FleetStore } from '../../train/fleet/store.ts'
import { FleetWorker, type WorkerSummary } from '../../train/fleet/worker.ts'
import type { Settings } from '../../train/settings.ts'
import type { RunJob } from '../../train/study/run/job.ts'

const HASH = '0'.repeat(20)

/** Workers in this process, each with a connection of its own: the real loop of a worker on a machine that trains nothing. */
export class NullWorkers {
  readonly notes: string[] = []
  readonly #ends: AbortController[] = []
  readonly #working: Promise<WorkerSummary>[] = []

  /** Connects workers of these names, a few at a time. @param credentials returns the path of those of a worker */
  async start(
    url: string,
    credentials: (name: string) => string,
    names: readonly string[],
    machine: (name: string) => Machine,
    atATime = 8,
  ): Promise<void> {
    const waiting = [...names]
    const begin = async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
        await this.#begin(url, credentials, name, machine)
    }
    await Promise.all(Array.from({ length: atATime }, begin))
  }

  async #begin(
    url: string,
    credentials: (name: string) => string,
    name: string,
    machine: (name: string) => Machine,
  ): Promise<void> {
    const say = (text: string) => this.notes.push(`${name}: ${text}`)
    const store = await FleetStore.open(await connectFleet({ url, auth: credentials(name) }, name, say), false)
    const ends = new AbortController()
    this.#ends.push(ends)
    await new Promise<void>((resolve, reject) => {
      const working = FleetWorker.work({
        ...{ store, name, class: 'cpu' as const, machine: machine(name), signal: ends.signal, onProgress() {} },
        note: (text) => {
          say(text)
          resolve()
        },
      }).finally(() => store.close())
      working.catch(reject)
      this.#working.push(working)
    })
  }

  /** Ends them all. @returns the number of runs that they did */
  async stop(): Promise<number> {
    for (const ends of this.#ends) ends.abort()
    return (await Promise.all(this.#working)).reduce((sum, { done }) => sum + done, 0)
  }
}

/** Opens what gives runs of a made-up study to workers that train nothing. */
export function dispatcherOf(
  store: FleetStore,
  study: string,
  note: (text: string) => void,
  lease = 30_000,
): Promise<Dispatcher> {
  const facts = { study, folder: study, preset: 'tiny', code: HASH, sources: 'none', data: HASH, hasOwn: () => false }
  return Dispatcher.open(store, { ...facts, target: { class: 'cpu' } }, { async onCheck() {}, note, lease })
}

/** Returns the key of run i of a made-up study. */
export function nullKey(i: number): string {
  return i.toString(16).padStart(20, '0')
}

/** Makes the job of run i of a made-up study. @param folder is that of its files */
export function nullJob(i: number, folder: string): RunJob {
  const job = { kind: 'run' as const, bundle: '', adapter: undefined, tune: 'off' as const, arm: 'none', saveEvery: 100 }
  return { ...job, key: nullKey(i), settings: {} as Settings, flops: undefined, folder }
}
