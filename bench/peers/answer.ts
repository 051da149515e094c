import { type Device, reason } from '../../engine/index.ts'
import type { Budget } from '../doBench.ts'
import type { Workload } from '../workloads.ts'
import { type Comparison, compareOn } from './compare.ts'
import { NotOffered } from './peer.ts'
import { PEERS } from './peers.ts'

/** The comparisons that a child process or a page has to make. */
export interface Task {
  /** Package name of the peer. */
  package: string
  adapter: string | undefined
  budget: Budget
  workloads: Workload[]
}

/**
 * An answer to a task. `ready` comes first, then a `result` or a `failure` for each workload, in order. `closed` means that
 * neither this process nor another one can do the task.
 */
export type Answer =
  | { kind: 'ready' }
  | { kind: 'result'; comparison: Comparison }
  | { kind: 'failure'; reason: string; offered: boolean }
  | { kind: 'closed'; reason: string }

/** Compares every workload of a task in ours and in the peer. */
export async function answerTask(
  task: Task,
  openDevice: () => Promise<Device>,
  answer: (message: Answer) => Promise<unknown>,
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
