// A study over a fleet whose workers are killed, stopped and cut off, and whose server is restarted, at random.
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { countQueued } from '../../train/fleet/queue.ts'
import { runCli } from '../harness/cli.ts'
import { linesOf, modelsOf, resultsOf, type StudyText, writeStudy } from '../study/studies.ts'
import { start, TestFleet } from './fleetOfTest.ts'

/** Seconds after which the run of a silent worker goes to another one. */
const LEASE = 3
const FAULTS = ['kill', 'stop', 'cut', 'restart'] as const

export interface FaultPlan {
  workers: number
  faults: number
  /** Milliseconds between two faults, at most. */
  every: number
  text: StudyText
  seed: number
}

/** Runs a study on this machine and over a fleet with faults. Fails unless every run ends exactly once, with the same bits. */
export async function studyWithFaults(work: string, { workers, faults, every, text, seed }: FaultPlan): Promise<void> {
  const file = writeStudy(work, text)
  const alone = join(work, 'alone')
  const single = await runCli(['study', 'run', file, '--out', alone, '--jobs', '2'])
  assert.is(single.code, 0, single.stderr)
  const names = Array.from({ length: workers }, (_, i) => `w${i + 1}`)
  const fleet = await TestFleet.begin(join(work, 'server'), [
    { name: 'coordinator' },
    ...names.map((name) => ({ name, class: 'cpu' as const })),
  ])
  try {
    for (const name of names) await fleet.startWorker(name, join(work, name), ['--study', file])
    const out = join(work, 'fleet')
    const study = start(['study', 'run', file, ...fleet.flags(), '--lease', `${LEASE}`, '--out', out])
    let over = false
    study.ended.then(() => {
      over = true
    })
    let done = 0
    for (let i = 0; i < faults && !over; i++) {
      const random = new CounterRandom(seed, [i, 0, 0])
      await pause(random.below(every))
      if (over) break
      const worker = fleet.workers[random.below(workers)]!
      const kind = FAULTS[(i + random.below(2)) % FAULTS.length]!
      done++
      if (kind === 'kill') worker.signal('SIGKILL')
      else if (kind === 'stop') {
        worker.signal('SIGSTOP')
        void pause(1000 * (LEASE + 1)).then(() => worker.signal('SIGCONT'))
      } else if (kind === 'cut') {
        worker.cable.cut()
        void pause(1000 * (LEASE + 1)).then(() => worker.cable.heal())
      } else await fleet.restart(500)
    }
    const code = await study.ended
    const logs = () => `${study.stderr()}\n${fleet.workers.map(({ name, log }) => `--- ${name}\n${log}`).join('\n')}`
    assert.is(code, 0, logs())
    assert.ok(done >= faults / 2, `${done} of ${faults} faults came before the end`)
    const [a, b] = [alone, out].map((folder) => join(folder, 'small-tiny')) as [string, string]
    assert.equal(resultsOf(b), resultsOf(a), logs())
    assert.equal(modelsOf(b), modelsOf(a))
    for (const { key } of linesOf(a, 'results.jsonl')) {
      const scores = (folder: string) =>
        linesOf(folder, 'runs', key, 'metrics.jsonl').map(({ step, prefix, split, loss }) => [step, prefix, split, loss])
      assert.equal(scores(b), scores(a), key)
    }
    const store = await fleet.open()
    try {
      // An acknowledgement that was lost with the server is made up for when the lease is over, or 15 s after a worker that failed was asked.
      const left = () => countQueued(store.manager)
      for (let i = 0; (await left()) > 0 && i < 40; i++) await pause(1000)
      assert.is(await left(), 0, 'the queue is empty')
      const objects = await store.files.list()
      assert.equal(
        objects.filter(({ deleted }) => !deleted).map(({ name }) => name),
        [],
        'no file is left of runs that were fetched',
      )
    } finally {
      await store.close()
    }
  } finally {
    await fleet.end()
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
