import type { Answer } from '../../bench/peers/answer.ts'
import type { Comparison } from '../../bench/peers/compare.ts'
import { peerText } from '../../bench/peers/report.ts'
import { type RunTask, runPeer } from '../../bench/peers/runPeer.ts'
import { shapeOf, type Workload } from '../../bench/workloads.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('comparisons with a peer')

const workloads: Workload[] = [1, 2, 3, 4].map((n) => ({ kind: 'add', n }))
const task = { package: 'peer', adapter: undefined, budget: { warmup: 0, time: 1, minSamples: 1 }, workloads }
const times = { median: 2, p20: 1, p80: 3 }

function result(w: Workload, ratio = 2): Answer {
  const comparison: Comparison = {
    workload: w.kind,
    shape: shapeOf(w),
    peer: 'peer',
    ours: times,
    theirs: times,
    ratio,
    rounds: 1,
    difference: 0,
  }
  return { kind: 'result', comparison }
}

/** A `runTask` that answers for each workload as `script` says; it may also crash or hang there. */
function place(script: (w: Workload) => Answer | 'crash' | 'hang'): { runTask: RunTask; started: () => number } {
  let started = 0
  const runTask: RunTask = ({ workloads: asked }, onAnswer) => {
    started++
    let stop = () => {}
    const stopped = new Promise<string>((resolve) => {
      stop = () => resolve('was stopped')
    })
    const answers = async (): Promise<string> => {
      onAnswer({ kind: 'ready' })
      for (const w of asked) {
        await Promise.resolve()
        const answer = script(w)
        if (answer === 'crash') return 'its process ended with SIGSEGV'
        if (answer === 'hang') return stopped
        onAnswer(answer)
        if (answer.kind === 'closed') break
      }
      return 'its process ended with code 0'
    }
    return { ended: answers(), stop }
  }
  return { runTask, started: () => started }
}

const sizeOf = (w: Workload) => (w.kind === 'add' ? w.n : 0)

async function expectFailures(script: (w: Workload) => Answer | 'crash' | 'hang', reasons: string[], places: number) {
  const { runTask, started } = place(script)
  const { comparisons, failures } = await runPeer(task, 0.05, runTask, () => {})
  const found = failures.map(({ shape, reason }) => `${shape} ${reason}`)
  if (found.join() !== reasons.join()) throw new Error(`failures: ${found.join('; ')}`)
  if (comparisons.length + failures.length !== workloads.length) throw new Error(`${comparisons.length} comparisons`)
  if (started() !== places) throw new Error(`started ${started()} times, expected ${places}`)
}

test('all is well', () => expectFailures((w) => result(w), [], 1))

test('a crash fails one workload, and a new place does the rest', () =>
  expectFailures((w) => (sizeOf(w) === 2 ? 'crash' : result(w)), ['[2] its process ended with SIGSEGV'], 2))

test('so does one that takes too long', () =>
  expectFailures((w) => (sizeOf(w) === 4 ? 'hang' : result(w)), ['[4] took longer than 0.05 s'], 1))

test('a failure that was reported needs no new place', () =>
  expectFailures(
    (w) => (sizeOf(w) === 1 ? { kind: 'failure', reason: 'not trained', offered: false } : result(w)),
    ['[1] not trained'],
    1,
  ))

test('a library that does not open fails everything, once', () =>
  expectFailures(
    () => ({ kind: 'closed', reason: 'no device' }),
    workloads.map((w) => `${shapeOf(w)} no device`),
    1,
  ))

test('the report names the fastest peer, failures, and PyTorch beside', () => {
  const [slow, fast] = [3, 1.5].map((ratio, i) => {
    const answer = result(workloads[0]!, ratio)
    return answer.kind === 'result' ? { ...answer.comparison, peer: ['slow', 'fast'][i]! } : undefined
  })
  const text = peerText({
    date: '',
    device: 'device',
    versions: { slow: '1', fast: '2' },
    comparisons: [slow!, fast!],
    failures: [{ workload: 'add', shape: '[2]', peer: 'slow', reason: 'fell over', offered: true }],
    torch: { version: '1', device: 'CPU', times: [{ workload: 'add', shape: '[1]', ...times }], failures: [] },
  })
  const fastest = text.split('\n').filter((line) => /\bfast\b.*1\.5x.*\b2\b.*1x/.test(line))
  if (fastest.length !== 1 || !text.includes('slow, add [2]: fell over')) throw new Error(text)
})

run()
