// A study that is killed and run again loses no run, does none twice, and ends with the bits of one that is not killed.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { CounterRandom } from '../../train/data/random.ts'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { linesOf, modelsOf, resultsOf, writeStudy } from './studies.ts'

const CLI = fileURLToPath(new URL('./cli.js', import.meta.url))
const KILLS = 10
const work = mkdtempSync(join(tmpdir(), 'paraformer-study-kills-'))
const file = writeStudy(work, { tiny: { epochs: 6 } })
const { test, run } = suite('killed studies')

/** Runs a study and kills it after a while. @returns its exit code, or the signal that ended it */
function killed(out: string, signal: NodeJS.Signals, after: number): Promise<number | string> {
  const child = spawn(process.execPath, [CLI, 'study', 'run', file, '--out', out, '--jobs', '2'], { stdio: 'ignore' })
  const timer = setTimeout(() => child.kill(signal), after)
  return new Promise((resolve) => {
    child.on('close', (code, by) => {
      clearTimeout(timer)
      resolve(by ?? code!)
    })
  })
}

test('ten kills at random moments leave the results of an undisturbed study', async () => {
  const [whole, disturbed] = ['whole', 'disturbed'].map((name) => join(work, name)) as [string, string]
  /** Milliseconds that the undisturbed study takes, from its begin or once it is finished. */
  const timed = async () => {
    const began = performance.now()
    const { code, stderr } = await runCli(['study', 'run', file, '--out', whole])
    assert.is(code, 0, stderr)
    return performance.now() - began
  }
  const [all, start] = [await timed(), await timed()]
  const ends: (number | string)[] = []
  for (let i = 0; i < KILLS; i++) {
    const random = new CounterRandom(5, [i, 0, 0])
    const signal = (['SIGKILL', 'SIGINT', 'SIGTERM'] as const)[i % 3]!
    ends.push(await killed(disturbed, signal, start / 2 + random.below(Math.ceil((all - start) / 4))))
    const path = join(disturbed, 'small-tiny', 'results.jsonl')
    // Arms and seeds are there once at every moment.
    const names = existsSync(path) ? linesOf(path).map(({ arm, seed }) => `${arm} ${seed}`) : []
    assert.is(new Set(names).size, names.length, names.join())
  }
  assert.ok(ends.filter((end) => end !== 0).length >= 4, `kills hit: ${ends.join()}`)
  assert.equal(
    ends.filter((end) => ![0, 'SIGKILL', 130, 143].includes(end)),
    [],
    ends.join(),
  )
  const last = await runCli(['study', 'run', file, '--out', disturbed])
  assert.is(last.code, 0, last.stderr)
  assert.match(last.stdout, /all runs are finished/)
  const [a, b] = [whole, disturbed].map((out) => join(out, 'small-tiny')) as [string, string]
  assert.is(resultsOf(a).length, 4)
  assert.equal(resultsOf(b), resultsOf(a))
  assert.equal(modelsOf(b), modelsOf(a))
  for (const key of readdirSync(join(a, 'runs'))) {
    const scores = (folder: string) =>
      linesOf(folder, 'runs', key, 'metrics.jsonl').map(({ step, prefix, split, loss }) => [step, prefix, split, loss])
    assert.equal(scores(b), scores(a), key)
  }
})

test('a study that is finished begins no run', async () => {
  const { code, stderr } = await runCli(['study', 'run', file, '--out', join(work, 'whole')])
  assert.is(code, 0)
  assert.not.match(stderr, /accuracy|the same seed twice/)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
