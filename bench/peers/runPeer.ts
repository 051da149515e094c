import { shapeOf, type Workload } from '../workloads.ts'
import type { Answer, Task } from './answer.ts'
import type { Comparison } from './compare.ts'

/** A comparison that could not be made, and why. */
export interface PeerFailure {
  workload: Workload['kind']
  shape: string
  peer: string
  reason: string
  /** False where the library has no such computation. */
  offered: boolean
}

/** The results of all workloads of a task: the comparisons and the failures. */
export interface PeerResults {
  comparisons: Comparison[]
  failures: PeerFailure[]
}

/** Starts a task in a process or page; `ended` says how that process or page ended, by itself or by `stop`. */
export type RunTask = (task: Task, onAnswer: (answer: Answer) => void) => { ended: Promise<string>; stop(): void }

/**
 * Compares every workload with one peer, in processes or pages. When a process or page crashes, or takes longer than the limit
 * for a workload, the workload fails, and a new process or page does the rest.
 * @param limit seconds for each workload
 */
export async function runPeer(
  task: Task,
  limit: number,
  runTask: RunTask,
  onProgress: (done: number, workload: Workload | undefined) => void,
): Promise<PeerResults> {
  const results: PeerResults = { comparisons: [], failures: [] }
  const { workloads } = task
  let done = 0
  const next = () => onProgress(done, workloads[done])
  const fail = (why: string, offered = true) => {
    const workload = workloads[done++]!
    results.failures.push({ workload: workload.kind, shape: shapeOf(workload), peer: task.package, reason: why, offered })
    next()
  }
  next()
  while (done < workloads.length) {
    let closed: string | undefined
    const ended = await once({ ...task, workloads: workloads.slice(done) }, limit, runTask, (answer) => {
      if (answer.kind === 'closed') closed = answer.reason
      if (answer.kind === 'failure') fail(answer.reason, answer.offered)
      if (answer.kind !== 'result') return
      results.comparisons.push(answer.comparison)
      done++
      next()
    })
    if (closed !== undefined) while (done < workloads.length) fail(closed)
    else if (done < workloads.length) fail(ended)
  }
  return results
}

/** Runs a task until its process or page ends, or an answer is late. @returns how it ended */
async function once(task: Task, limit: number, runTask: RunTask, onAnswer: (answer: Answer) => void): Promise<string> {
  let late = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      late = true
      running.stop()
    }, limit * 1000)
  }
  const running = runTask(task, (answer) => {
    // An answer that arrives after the limit is dropped: its workload has failed already.
    if (late) return
    wait()
    onAnswer(answer)
  })
  wait()
  const ended = await running.ended
  clearTimeout(timer)
  return late ? `took longer than ${limit} s` : ended
}
