import { join } from 'node:path'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { say } from '../../train/cli/printable.ts'
import { table } from '../../train/cli/table.ts'
import type { Dispatcher } from '../../train/fleet/dispatcher.ts'
import { credentialsOf } from '../../train/fleet/server.ts'
import { quantile } from '../statistics.ts'
import { NullMachine } from './nullMachine.ts'
import { dispatcherOf, NullWorkers, nullJob } from './nullWorkers.ts'
import { OwnFleet } from './ownFleet.ts'

/** Runs that are given one by one to workers that wait, and milliseconds between them. */
const SINGLES = 20
const APART = 200

export interface FleetSimulateFlags {
  workers: number[]
  seconds: number
  runSeconds: number
  kilobytes: number
  json?: boolean
}

/** A fleet of so many workers, while all of them wait and while all of them have runs. */
export interface FleetSimulateRow {
  workers: number
  state: 'waiting' | 'training'
  seconds: number
  messagesPerSecond: number
  bytesPerSecond: number
  /** Seconds of a core that the server, and this process with all workers and the dispatcher, take in a second. */
  serverCpu: number
  workersCpu: number
  runsPerSecond: number
  /** Milliseconds from the publication of a run to its beginning, while workers wait, or else from the end of a run to the beginning of the next one. */
  taken: { median: number; p95: number }
}

/** Runs `paraformer bench fleet simulate`. */
export async function benchFleetSimulate(flags: FleetSimulateFlags): Promise<void> {
  const rows: FleetSimulateRow[] = []
  for (const workers of flags.workers) rows.push(...(await simulate(workers, flags)))
  if (flags.json) return console.log(JSON.stringify(rows, null, 2))
  const cells = rows.map((row) => [
    ...[`${row.workers}`, row.state, row.messagesPerSecond.toFixed(0), (row.bytesPerSecond / 1000).toFixed(0)],
    ...[(row.messagesPerSecond / row.workers).toFixed(2), row.runsPerSecond.toFixed(1)],
    ...[(100 * row.serverCpu).toFixed(0), (100 * row.workersCpu).toFixed(0)],
    ...[row.taken.median.toFixed(0), row.taken.p95.toFixed(0)],
  ])
  const head = ['workers', 'state', 'messages/s', 'kB/s', 'messages/s a worker', 'runs/s', "server's CPU, %", "workers' CPU, %"]
  console.log(table([...head, 'taken after, ms', '95 %'], cells))
}

async function simulate(workers: number, { seconds, runSeconds, kilobytes }: FleetSimulateFlags): Promise<FleetSimulateRow[]> {
  const fleet = await OwnFleet.begin(workers)
  const crew = new NullWorkers()
  const ends = new AbortController()
  const published = new Map<string, number>()
  const durations = new Map<string, number>()
  const [first, next]: number[][] = [[], []]
  let begun = 0
  let done = 0
  const machine = () => {
    let free = Number.NaN
    return new NullMachine({
      bytes: kilobytes * 1000,
      duration: (key) => durations.get(key)!,
      onBegun(key) {
        begun++
        if (begun <= SINGLES) first!.push(performance.now() - published.get(key)!)
        else if (free > 0) next!.push(performance.now() - free)
      },
      onDone() {
        done++
        free = performance.now()
      },
    })
  }
  const count = async (state: FleetSimulateRow['state'], taken: number[]): Promise<FleetSimulateRow> => {
    const [before, own, runs, began] = [await fleet.counts(), process.cpuUsage(), done, performance.now()]
    taken.length = 0
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
    const [after, took] = [await fleet.counts(), (performance.now() - began) / 1000]
    const { user, system } = process.cpuUsage(own)
    return {
      ...{ workers, state, seconds: took },
      messagesPerSecond: (after.messages - before.messages) / took,
      bytesPerSecond: (after.bytes - before.bytes) / took,
      serverCpu: (after.cpu - before.cpu) / took,
      workersCpu: (user + system) / 1e6 / took,
      runsPerSecond: (done - runs) / took,
      taken: spread(taken),
    }
  }
  let dispatcher: Dispatcher | undefined
  try {
    dispatcher = await dispatcherOf(fleet.store, 'null-tiny', say)
    let given = 0
    const give = (duration: number) => {
      const job = nullJob(given, join(fleet.folder, 'runs', `${given}`))
      given++
      durations.set(job.key, duration)
      published.set(job.key, performance.now())
      return dispatcher!.do(job, { signal: ends.signal, note: say })
    }
    const names = Array.from({ length: workers }, (_, i) => `w${i + 1}`)
    const began = performance.now()
    await crew.start(fleet.url, (name) => credentialsOf(fleet.folder, name), names, machine)
    say(`${workers} workers are there after ${((performance.now() - began) / 1000).toFixed(1)} s`)
    const waiting = await count('waiting', [])
    for (let i = 0; i < SINGLES; i++) {
      await give(0)
      await new Promise((resolve) => setTimeout(resolve, APART))
    }
    waiting.taken = spread(first!)
    // Runs take from half to one and a half times their mean, and are enough to keep all workers busy while they are counted.
    const runs = Math.ceil(workers * (2 + (2 * seconds) / runSeconds))
    const ended = Array.from({ length: runs }, (_, i) => {
      const share = new CounterRandom(1, [i, 0, 0]).uniform()
      // The first ones are in the middle of their time, so that runs end and begin all the while.
      return give(1000 * runSeconds * (i < workers ? share : 0.5 + share))
    })
    const from = performance.now()
    while (begun < Math.min(workers, runs)) await new Promise((resolve) => setTimeout(resolve, 50))
    say(`${runs} runs are given, and all workers have one, after ${((performance.now() - from) / 1000).toFixed(1)} s`)
    const training = await count('training', next!)
    ends.abort()
    await Promise.all(ended)
    return [waiting, training]
  } finally {
    await dispatcher?.close()
    await crew.stop()
    await fleet.end()
  }
}

function spread(samples: readonly number[]): FleetSimulateRow['taken'] {
  if (samples.length === 0) return { median: Number.NaN, p95: Number.NaN }
  const sorted = [...samples].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), p95: quantile(sorted, 0.95) }
}
