import { parseClaim } from './claim.ts'
import type { Claim, WorkerEntry } from './messages.ts'
import { RECORDS, recordSubject } from './names.ts'
import { presentWorkers } from './presence.ts'
import { countQueued, queuedRuns, removeQueued } from './queue.ts'
import type { FleetStore } from './store.ts'

/** The runs of a study in a fleet. */
export interface FleetStudy {
  /** The name of the study's folder, such as `schemes-tiny`. */
  folder: string
  waiting: number
  running: number
  /** Runs that are done, their files fetched or not. */
  done: number
  failed: number
  /** The last failure of each run that failed, in one line. */
  failures: string[]
}

/** The work of a fleet at a moment. */
export interface FleetOverview {
  server: string
  /** Messages in the queue: runs that wait or are being done. */
  queued: number
  workers: WorkerEntry[]
  studies: FleetStudy[]
  /** Bytes of checkpoints and results in the object store. */
  bytes: number
}

/** Reads what a fleet does. @param only the name of one study's folder; default all */
export async function fleetOverview(store: FleetStore, only?: string): Promise<FleetOverview> {
  const { connection, manager, workers, files } = store
  const [queued, present, runs, status] = await Promise.all([
    countQueued(manager),
    presentWorkers(workers),
    claimsOf(store, only),
    files.status(),
  ])
  const studies = new Map<string, FleetStudy>()
  for (const [key, claim] of runs) {
    const folder = key.slice(0, key.lastIndexOf('.'))
    const study = studies.get(folder) ?? { folder, waiting: 0, running: 0, done: 0, failed: 0, failures: [] }
    studies.set(folder, study)
    study[claim.state === 'collected' ? 'done' : claim.state]++
    const last = claim.failures.at(-1)
    if (claim.state === 'failed' && last) study.failures.push(`${claim.arm}: ${last.worker}: ${last.reason}`)
  }
  return {
    server: connection.getServer(),
    queued,
    workers: present,
    studies: [...studies.values()],
    bytes: status.size,
  }
}

/** Reads the entries of runs, by key; what is malformed is left out. */
export async function claimsOf({ claims }: FleetStore, only?: string): Promise<[string, Claim][]> {
  const found: [string, Claim][] = []
  for await (const key of await claims.keys(only === undefined ? '>' : `${only}.*`)) {
    const entry = await claims.get(key)
    if (entry?.operation !== 'PUT') continue
    try {
      found.push([key, parseClaim(entry).claim])
    } catch {}
  }
  return found
}

/**
 * Takes the runs of a study out of a fleet: those that wait are not done, those in progress end at their next checkpoint, and all their
 * files are removed.
 * @returns the number of runs
 */
export async function cancelStudy(store: FleetStore, folder: string): Promise<number> {
  const { manager, claims, files } = store
  const keys: string[] = []
  for await (const key of await claims.keys(`${folder}.*`)) keys.push(key)
  // Without an entry nobody takes or offers a run any more.
  for (const key of keys) await claims.purge(key)
  for (const subjects of (await queuedRuns(manager, folder)).values())
    for (const subject of subjects) await removeQueued(manager, subject)
  for (const { name, deleted } of await files.list())
    if (!deleted && name.startsWith(`${folder}/`)) await files.delete(name).catch(() => {})
  await manager.streams.purge(RECORDS, { filter: recordSubject('*', folder, '*') })
  return keys.length
}
