// Kills a study at random moments.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { runCli } from '../harness/cli.ts'
import { linesOf, modelsOf, resultsOf, type StudyText, writeStudy } from './studies.ts'

const CLI = fileURLToPath(new URL('./cli.js', import.meta.url))
const SIGNALS = ['SIGKILL', 'SIGINT', 'SIGTERM'] as const

/** Runs a study and kills it after a while. @returns its exit code, or the signal that ended it */
function killed(file: string, out: string, signal: NodeJS.Signals, after: number): Promise<number | string> {
  const child = spawn(process.execPath, [CLI, 'study', 'run', file, '--out', out, '--jobs', '2'], { stdio: 'ignore' })
  const timer = setTimeout(() => child.kill(signal), after)
  return new Promise((resolve) => {
    child.on('close', (code, by) => {
      clearTimeout(timer)
      resolve(by ?? code!)
    })
  })
}

/**
 * Kills a study a number of times and runs it again. Fails when an arm's seed is there twice at any moment, when fewer than `hits` kills come
 * before the study's end, or when it ends with other bits than a study that is not killed.
 * @param text the study; with two arms and two seeds where it is left out
 */
export async function killStudy(work: string, kills: number, hits: number, text?: StudyText): Promise<void> {
  const file = writeStudy(work, { tiny: { epochs: 6 }, ...text })
  const [whole, disturbed] = ['whole', 'disturbed'].map((name) => join(work, name)) as [string, string]
  /** Runs the undisturbed study, from its begin or once it is finished. @returns the milliseconds it takes, and its stderr */
  const timed = async () => {
    const began = performance.now()
    const { code, stderr } = await runCli(['study', 'run', file, '--out', whole])
    assert.is(code, 0, stderr)
    return { ms: performance.now() - began, stderr }
  }
  const [all, finished] = [await timed(), await timed()]
  assert.not.match(finished.stderr, /accuracy|the same seed twice/, 'a study that is finished begins no run')
  const ends: (number | string)[] = []
  for (let i = 0; i < kills; i++) {
    const random = new CounterRandom(5, [i, 0, 0])
    const after = finished.ms / 2 + random.below(Math.ceil((all.ms - finished.ms) / 4))
    ends.push(await killed(file, disturbed, SIGNALS[i % SIGNALS.length]!, after))
    const path = join(disturbed, 'small-tiny', 'results.jsonl')
    // Arms and seeds are there once at every moment.
    const names = existsSync(path) ? linesOf(path).map(({ arm, seed }) => `${arm} ${seed}`) : []
    assert.is(new Set(names).size, names.length, names.join())
  }
  assert.ok(ends.filter((end) => end !== 0).length >= hits, `kills hit: ${ends.join()}`)
  assert.equal(
    ends.filter((end) => ![0, 'SIGKILL', 130, 143].includes(end)),
    [],
    ends.join(),
  )
  const last = await runCli(['study', 'run', file, '--out', disturbed])
  assert.is(last.code, 0, last.stderr)
  assert.match(last.stdout, /all runs are finished/)
  const [a, b] = [whole, disturbed].map((out) => join(out, 'small-tiny')) as [string, string]
  assert.ok(resultsOf(a).length >= 2)
  assert.equal(resultsOf(b), resultsOf(a))
  assert.equal(modelsOf(b), modelsOf(a))
  for (const key of readdirSync(join(a, 'runs'))) {
    const scores = (folder: string) =>
      linesOf(folder, 'runs', key, 'metrics.jsonl').map(({ step, prefix, split, loss }) => [step, prefix, split, loss])
    assert.equal(scores(b), scores(a), key)
  }
}
