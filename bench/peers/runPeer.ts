import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { shapeOf, type Workload } from '../workloads.ts'
import type { Answer, Task } from './child.ts'
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

export interface PeerResults {
  comparisons: Comparison[]
  failures: PeerFailure[]
}

/** Last lines that a child wrote, to say why it ended. */
const TAIL = 400

/**
 * Compares every workload with one peer in child processes: one that crashes, or is slower than `limit` seconds with a
 * workload, is replaced by a new one for the rest. Nothing is left out without a reason.
 */
export async function runPeer(
  task: Task,
  limit: number,
  onProgress: (done: number, workload: Workload | undefined) => void,
): Promise<PeerResults> {
  const results: PeerResults = { comparisons: [], failures: [] }
  const fail = (workload: Workload, why: string, offered = true) => {
    results.failures.push({ workload: workload.kind, shape: shapeOf(workload), peer: task.package, reason: why, offered })
  }
  let rest = task.workloads
  while (rest.length > 0) {
    onProgress(task.workloads.length - rest.length, rest[0])
    const done = await runChild({ ...task, workloads: rest }, limit, (answer, index) => {
      const workload = rest[index]!
      if (answer.kind === 'result') results.comparisons.push(answer.comparison)
      else fail(workload, answer.reason, answer.offered)
      onProgress(task.workloads.length - rest.length + index + 1, rest[index + 1])
    })
    if (done.closed !== undefined) {
      for (const workload of rest.slice(done.count)) fail(workload, done.closed)
      break
    }
    rest = rest.slice(done.count)
    const [broken, ...others] = rest
    if (broken) {
      fail(broken, done.ended)
      rest = others
    }
  }
  return results
}

/** How a child ended: workloads it answered, what ended it before the next, and whether no other child would do better. */
interface Ended {
  count: number
  ended: string
  closed?: string
}

function runChild(
  task: Task,
  limit: number,
  onAnswer: (answer: Extract<Answer, { kind: 'result' | 'failure' }>, index: number) => void,
): Promise<Ended> {
  return new Promise((resolve) => {
    const child: ChildProcess = fork(fileURLToPath(new URL('./child.js', import.meta.url)), {
      // Node stands still for minutes while V8 optimizes the 27 MB of WebAssembly of onnxruntime-web, which only dispatches.
      execArgv: ['--enable-source-maps', '--liftoff-only'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    let output = ''
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (text) => {
        output = `${output}${text}`.slice(-TAIL)
      })
    }
    let count = 0
    let late = false
    let closed: string | undefined
    const kill = () => {
      late = true
      child.kill('SIGKILL')
    }
    let timer = setTimeout(kill, limit * 1000)
    child.on('message', (answer: Answer) => {
      clearTimeout(timer)
      timer = setTimeout(kill, limit * 1000)
      if (answer.kind === 'closed') closed = answer.reason
      else if (answer.kind !== 'ready') onAnswer(answer, count++)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const how = late ? `took longer than ${limit} s` : `its process ended with ${signal ?? `code ${code}`}`
      const said = late ? '' : output.trim().split('\n').at(-1)
      resolve({ count, ended: said ? `${how}: ${said}` : how, ...(closed !== undefined && { closed }) })
    })
    child.send(task)
  })
}
