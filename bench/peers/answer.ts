import { type Device, reason } from '../../engine/index.ts'
import type { Budget } from '../doBench.ts'
import type { Workload } from '../workloads.ts'
import { type Comparison, compareOn } from './compare.ts'
import { NotOffered } from './peer.ts'
import { PEERS } from './peers.ts'

/** What a child process, or a page, is asked. */
export interface Task {
  package: string
  adapter: string | undefined
  budget: Budget
  workloads: Workload[]
}

/** What it says: that it is ready, then how each workload ended, in order; or that it cannot go on, and no other could. */
export type Answer =
  | { kind: 'ready' }
  | { kind: 'result'; comparison: Comparison }
  | { kind: 'failure'; reason: string; offered: boolean }
  | { kind: 'closed'; reason: string }

/** Compares every workload of a task with its peer. */
export async function answerTask(
  task: Task,
  openDevice: () => Promise<Device>,
  answer: (one: Answer) => Promise<unknown>,
): Promise<void> {
  try {
    const device = await openDevice()
    const peer = await PEERS[task.package]!()
    await answer({ kind: 'ready' })
    for (const workload of task.workloads) {
      try {
        await answer({ kind: 'result', comparison: await compareOn(device, peer, workload, task.budget) })
      } catch (error) {
        await answer({ kind: 'failure', reason: reason(error), offered: !(error instanceof NotOffered) })
      }
    }
  } catch (error) {
    await answer({ kind: 'closed', reason: reason(error) })
  }
}
