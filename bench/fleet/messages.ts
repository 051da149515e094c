import { table } from '../../train/cli/table.ts'
import { OwnFleet } from './ownFleet.ts'

export interface FleetMessagesFlags {
  workers: number[]
  seconds: number
  json?: boolean
}

/** Messages that workers send and receive while they wait for runs. */
export interface FleetMessagesRow {
  workers: number
  /** Of all workers, in both directions. */
  messagesPerSecond: number
  bytesPerSecond: number
  /** Share of a core that the server takes. */
  cpu: number
}

/** Runs `paraformer bench fleet messages`. */
export async function benchFleetMessages({ workers, seconds, json }: FleetMessagesFlags): Promise<void> {
  const most = Math.max(...workers)
  const fleet = await OwnFleet.begin(most)
  try {
    await fleet.store.makeConsumer({ class: 'cpu' }, 30_000)
    const rows: FleetMessagesRow[] = []
    let started = 0
    for (const count of workers.toSorted((a, b) => a - b)) {
      while (started < count) await fleet.start(`w${++started}`, [])
      const before = await fleet.counts()
      const began = performance.now()
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
      const [after, took] = [await fleet.counts(), (performance.now() - began) / 1000]
      rows.push({
        workers: count,
        messagesPerSecond: (after.messages - before.messages) / took,
        bytesPerSecond: (after.bytes - before.bytes) / took,
        cpu: (after.cpu - before.cpu) / took,
      })
    }
    if (json) return console.log(JSON.stringify(rows, null, 2))
    const cells = rows.map((row) => [
      ...[`${row.workers}`, row.messagesPerSecond.toFixed(1), (row.bytesPerSecond / 1000).toFixed(1)],
      ...[
        (row.messagesPerSecond / row.workers).toFixed(2),
        (row.bytesPerSecond / 1000 / row.workers).toFixed(2),
        `${(100 * row.cpu).toFixed(1)}`,
      ],
    ])
    console.log(table(['workers', 'messages/s', 'kB/s', 'messages/s a worker', 'kB/s a worker', "server's CPU, %"], cells))
  } finally {
    await fleet.end()
  }
}
