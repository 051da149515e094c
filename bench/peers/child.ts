// One peer beside ours in a process of its own, so that a crash ends one comparison: started by main.ts, which it answers by IPC.
import { reason } from '../../engine/index.ts'
import type { Budget } from '../doBench.ts'
import { openShared } from '../openShared.ts'
import type { Workload } from '../workloads.ts'
import { type Comparison, compareOn } from './compare.ts'
import { NotOffered } from './peer.ts'
import { PEERS } from './peers.ts'

/** What a child is asked. */
export interface Task {
  package: string
  adapter: string | undefined
  budget: Budget
  workloads: Workload[]
}

/** What it says: that it is ready, then for each workload what it starts and how that ended. */
export type Answer =
  | { kind: 'ready' }
  | { kind: 'result'; index: number; comparison: Comparison }
  | { kind: 'failure'; index: number; reason: string; offered: boolean }
  | { kind: 'closed'; reason: string }

process.once('message', async (task: Task) => {
  const answer = (one: Answer) => new Promise<void>((resolve) => process.send!(one, () => resolve()))
  try {
    const device = await openShared({ adapter: task.adapter })
    const peer = await PEERS[task.package]!()
    await answer({ kind: 'ready' })
    for (const [index, workload] of task.workloads.entries()) {
      try {
        const comparison = await compareOn(device, peer, workload, task.budget)
        await answer({ kind: 'result', index, comparison })
      } catch (error) {
        await answer({ kind: 'failure', index, reason: reason(error), offered: !(error instanceof NotOffered) })
      }
    }
  } catch (error) {
    await answer({ kind: 'closed', reason: reason(error) })
  }
  // Libraries keep their devices, and with them the process.
  process.exit()
})
