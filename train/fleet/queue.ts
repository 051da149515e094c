import type { JetStreamManager } from '@nats-io/jetstream'
import { QUEUE, runsOf } from './names.ts'

/** Lists the messages of a study's runs in the queue. @param folder the name of the study's folder @returns their subjects, by key of the run */
export async function queuedRuns(manager: JetStreamManager, folder: string): Promise<Map<string, string[]>> {
  const { state } = await manager.streams.info(QUEUE, { subjects_filter: runsOf(folder) })
  const found = new Map<string, string[]>()
  for (const subject of Object.keys(state.subjects ?? {})) {
    const key = subject.slice(subject.lastIndexOf('.') + 1)
    found.set(key, [...(found.get(key) ?? []), subject])
  }
  return found
}

/** Counts the messages in the queue. The count of the stream itself may hold some that went with a server that was killed. */
export async function countQueued(manager: JetStreamManager): Promise<number> {
  const { state } = await manager.streams.info(QUEUE, { subjects_filter: '>' })
  return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
}

/**
 * Takes all messages of a subject out of the queue. A server that is killed may bring back a message whose acknowledgement it counted: its
 * consumer never offers that one again, and its stream keeps it. They are deleted one after the other, since a purge by subject has
 * nats-server 2.9 skip what waits behind them.
 * @returns the number of messages
 */
export async function removeQueued(manager: JetStreamManager, subject: string): Promise<number> {
  for (let removed = 0; ; removed++) {
    const found = await manager.streams.getMessage(QUEUE, { last_by_subj: subject })
    if (!found) return removed
    await manager.streams.deleteMessage(QUEUE, found.seq)
  }
}
