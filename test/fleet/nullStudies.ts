// Studies of runs that train nothing, over a real server.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { modelOf } from '../../bench/fleet/nullMachine.ts'
import { dispatcherOf, nullJob, nullKey } from '../../bench/fleet/nullWorkers.ts'
import { countQueued } from '../../train/fleet/queue.ts'
import type { FleetStore } from '../../train/fleet/store.ts'
import { TestFleet } from './fleetOfTest.ts'

export const BYTES = 300
const LEASE = 2000

export const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Runs something with a server that knows workers `w1` and on, and an empty folder. */
export async function inFleet(
  workers: number,
  work: (fleet: TestFleet, store: FleetStore, folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-queue-'))
  const names = Array.from({ length: workers }, (_, i) => ({ name: `w${i + 1}`, class: 'cpu' as const }))
  const fleet = await TestFleet.begin(join(folder, 'server'), [{ name: 'coordinator' }, ...names])
  const store = await fleet.open()
  try {
    await work(fleet, store, folder)
  } finally {
    await store.close()
    await fleet.end()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Gives runs from `first` on to a fleet. @returns their ends, and what stops the study */
export async function study(store: FleetStore, folder: string, first: number, runs: number, notes: string[] = []) {
  const dispatcher = await dispatcherOf(store, 'null-tiny', (text) => notes.push(text), LEASE)
  const ends = new AbortController()
  const outcomes = Array.from({ length: runs }, (_, i) =>
    dispatcher.do(nullJob(first + i, join(folder, `${first + i}`)), { signal: ends.signal, note: (text) => notes.push(text) }),
  )
  return { dispatcher, outcomes, ends }
}

export function checkFiles(folder: string, first: number, runs: number): void {
  for (let i = first; i < first + runs; i++)
    assert.equal(readFileSync(join(folder, `${i}`, 'model.safetensors')), Buffer.from(modelOf(nullKey(i), BYTES)), `run ${i}`)
}

export const queued = (store: FleetStore) => countQueued(store.manager)
export const stored = async (store: FleetStore) =>
  (await store.files.list()).filter(({ deleted }) => !deleted).map(({ name }) => name)
