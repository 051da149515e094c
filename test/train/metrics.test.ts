import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileError } from '../../engine/base/errors.ts'
import { evaluationMetrics, type Metric, stepMetrics } from '../../train/run/metrics.ts'
import { MetricsLog } from '../../train/run/metricsLog.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { smallDisk } from './fullDisk.ts'
import { rejects } from './userError.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-metrics-'))
let files = 0
const place = () => join(work, `${files++}.jsonl`)
const { test, run } = suite('metrics')

const metric = (step: number): Metric => ({
  ...{ time: step / 8, epoch: 0, pass: 0, step, prefix: 1, split: 'train', loss: 2.5, accuracy: 0.5 },
  ...{ lr: 1e-3, norm: 1, imagesPerSecond: 100, flops: 1000 * step },
})
const lineOf = (step: number) => `${JSON.stringify(metric(step))}\n`
const linesOf = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => lineOf(first + i)).join('')
const quiet = (text: string) => {
  throw new Error(`said: ${text}`)
}

/** Opens a file as a run that resumes at `step`, and writes the next line. @returns the text of the file */
async function resumed(path: string, step: number): Promise<string> {
  const log = await MetricsLog.open(path, { step }, quiet)
  log.write(metric(step + 1))
  await log.close()
  return readFileSync(path, 'utf8')
}

test('lines after the checkpoint are cut off, and a line that was cut short; all else stays as it is', async () => {
  for (const [before, after] of [
    ['', lineOf(11)],
    [linesOf(1, 10), linesOf(1, 11)],
    [linesOf(1, 25), linesOf(1, 11)],
    [linesOf(1, 2000), linesOf(1, 11)],
    [linesOf(1, 10) + lineOf(11).slice(0, 40), linesOf(1, 11)],
    [linesOf(1, 14) + lineOf(15).slice(0, -1), linesOf(1, 11)],
    [linesOf(1, 10).slice(0, -1), linesOf(1, 11)],
    [linesOf(11, 20), lineOf(11)],
    [`# a note\n${linesOf(1, 12)}`, `# a note\n${linesOf(1, 11)}`],
    [`${linesOf(1, 5)}a note without end {`, `${linesOf(1, 5)}${lineOf(11)}`],
    [`${linesOf(1, 5)}a note\n`, `${linesOf(1, 5)}a note\n${lineOf(11)}`],
    ['null\n7\n', `null\n7\n${lineOf(11)}`],
  ] as const) {
    const path = place()
    writeFileSync(path, before)
    equal(await resumed(path, 10), after, `after ${JSON.stringify(before.slice(-80))}`)
  }
})

test('an evaluation that the checkpoint does not have is cut off too, though it is of the same mini-batch', async () => {
  const scored = { time: 2, epoch: 0, pass: 0, step: 10, prefix: 1, split: 'validation', loss: 1, accuracy: 1 } as const
  const flat = [scored, { ...scored, prefix: 2, violations: 0 }]
  const former = [{ kind: 'epoch', step: 10, epoch: 0, split: 'test', losses: [1], accuracies: [1], violations: 0, seconds: 1 }]
  for (const evaluation of [flat, former]) {
    const before = linesOf(1, 10) + evaluation.map((line) => `${JSON.stringify(line)}\n`).join('')
    for (const evaluationDue of [false, true]) {
      const path = place()
      writeFileSync(path, before + lineOf(11))
      await (await MetricsLog.open(path, { step: 10, evaluationDue }, quiet)).close()
      equal(readFileSync(path, 'utf8'), evaluationDue ? linesOf(1, 10) : before, `text where it is due: ${evaluationDue}`)
    }
  }
})

test('the lines of former versions are cut back too', async () => {
  const former = (step: number) =>
    `${JSON.stringify({ kind: 'step', step, epoch: 0, losses: [[2.5]], accuracies: [[0.5]], norms: [1], lr: 1e-3 })}\n`
  const path = place()
  writeFileSync(path, former(9) + former(10) + former(11))
  equal(await resumed(path, 10), former(9) + former(10) + lineOf(11), 'text')
})

test('a file that is missing is made', async () => {
  const path = place()
  equal(await resumed(path, 0), lineOf(1), 'text')
})

test('of a file of 5 GiB only the end is read, and nothing is lost', async () => {
  const path = place()
  writeFileSync(path, '')
  truncateSync(path, 5 * 2 ** 30)
  appendFileSync(path, `\n${linesOf(1, 25)}`)
  const { size } = statSync(path)
  const before = process.memoryUsage().rss
  const log = await MetricsLog.open(path, { step: 10 }, quiet)
  log.write(metric(11))
  await log.close()
  equal(statSync(path).size, size - Buffer.byteLength(linesOf(12, 25)), 'size')
  // Garbage without a line end stays as it is.
  truncateSync(path, 5 * 2 ** 30)
  const again = await MetricsLog.open(path, { step: 10 }, quiet)
  again.write(metric(11))
  await again.close()
  equal(statSync(path).size, 5 * 2 ** 30 + 1 + lineOf(11).length, 'size of garbage with a line')
  const grown = process.memoryUsage().rss - before
  if (!(grown < 100 << 20)) throw new Error(`${grown >> 20} MiB more memory`)
  rmSync(path)
})

test('what cannot be read and written is refused before the run, and left as it is', async () => {
  const folder = place()
  mkdirSync(folder)
  await rejects(MetricsLog.open(folder, { step: 0 }, quiet), /is a folder; name a file/, FileError)
  await rejects(MetricsLog.open(join(place(), 'x'), { step: 0 }, quiet), /cannot be written \(ENOENT\)/, FileError)
})

test('lines wait while the folder is away, which is said once, and come in their order', async () => {
  const folder = join(work, 'folder')
  mkdirSync(folder)
  const path = join(folder, 'metrics.jsonl')
  const said: string[] = []
  const log = await MetricsLog.open(path, { step: 0 }, (text) => said.push(text))
  log.write(metric(1))
  await log.sync()
  renameSync(folder, `${folder}-away`)
  for (let step = 2; step < 5; step++) {
    log.write(metric(step))
    await log.sync()
  }
  equal(existsSync(folder), false, 'the folder is there')
  equal(said.length, 1, said.join())
  equal(/cannot be written \(ENOENT\).*lines wait/.test(said[0]!), true, said[0]!)
  renameSync(`${folder}-away`, folder)
  log.write(metric(5))
  await log.close()
  equal(readFileSync(path, 'utf8'), linesOf(1, 5), 'text')
  equal(said.length, 2, said.join())
  renameSync(folder, `${folder}-away`)
  log.write(metric(6))
  await rejects(log.close(), /ENOENT.*1 lines are missing/, FileError)
})

test('a disk that fills and frees leaves no gap, no half line, and no line twice', async () => {
  const disk = smallDisk(join(work, 'disk'), 256)
  // Only root can mount a disk.
  if (!disk) return
  try {
    const path = join(disk.path, 'metrics.jsonl')
    const said: string[] = []
    const log = await MetricsLog.open(path, { step: 0 }, (text) => said.push(text))
    let step = 0
    const write = async (count: number) => {
      for (let i = 0; i < count; i++) log.write(metric(++step))
      await log.sync()
    }
    for (let round = 0; round < 3; round++) {
      await write(20)
      const before = readFileSync(path, 'utf8')
      equal(before, linesOf(1, step), `round ${round}`)
      disk.fill()
      await write(200)
      const full = readFileSync(path, 'utf8')
      equal(linesOf(1, step).startsWith(full) && full.endsWith('\n'), true, 'whole lines on the full disk')
      disk.free()
      await write(1)
      equal(readFileSync(path, 'utf8'), linesOf(1, step), `after round ${round}`)
    }
    equal(said.length, 6, said.join('\n'))
    await log.close()
  } finally {
    disk.remove()
  }
})

test('what waits is bounded, and what is dropped is counted', async () => {
  const said: string[] = []
  const path = join(place(), 'away', 'x')
  mkdirSync(join(path, '..'), { recursive: true })
  const log = await MetricsLog.open(path, { step: 0 }, (text) => said.push(text))
  rmSync(join(path, '..'), { recursive: true })
  const wide = { ...metric(1), note: 'x'.repeat(49_000) }
  for (let i = 0; i < 1000; i++) log.write(wide)
  await log.sync()
  mkdirSync(join(path, '..'), { recursive: true })
  await log.sync()
  const kept = readFileSync(path, 'utf8').trim().split('\n').length
  await rejects(log.close(), new RegExp(`; ${1000 - kept} lines are missing`), FileError)
  if (!(kept > 100 && kept < 500)) throw new Error(`${kept} lines were kept`)
})

test('a run that goes back to a checkpoint forgets what came after it', async () => {
  const path = place()
  const log = await MetricsLog.open(path, { step: 0 }, quiet)
  for (let step = 1; step <= 20; step++) log.write(metric(step))
  await log.rewind({ step: 7 })
  log.write(metric(8))
  await log.close()
  equal(readFileSync(path, 'utf8'), linesOf(1, 8), 'text')
})

const report = {
  ...{ epoch: 1, pass: 0, position: { epoch: 1, pass: 0, batch: 3, step: 11, updates: 22 }, time: 4.5, flops: 900 },
  ...{ losses: [[2.5, 2.75, 2]], accuracies: [[0.25, 0.5, 0.75]], firstPrefixes: [1], norms: [3], lr: 1e-3, images: 8 },
}

test('a mini-batch has a line for each prefix; the last one counts the prefixes that are worse than the one before', () => {
  const found = stepMetrics(report, 100)
  equal(
    found.map(({ prefix, loss, accuracy, violations }) => [prefix, loss, accuracy, violations]),
    [
      [1, 2.5, 0.25, undefined],
      [2, 2.75, 0.5, undefined],
      [3, 2, 0.75, 1],
    ],
    'scores',
  )
  for (const { time, epoch, pass, step, split, lr, norm, flops } of found)
    equal([time, epoch, pass, step, split, lr, norm, flops], [4.5, 1, 0, 11, 'train', 1e-3, 3, 900], 'what all share')
})

test('a mini-batch of several optimizer steps has lines for each, with its own prefix and norm, and counts no violations', () => {
  const steps = { losses: [[2.5], [2.75]], accuracies: [[0.25], [0.5]], firstPrefixes: [1, 2], norms: [3, 4] }
  equal(
    stepMetrics({ ...report, ...steps }, 100).map(({ prefix, loss, norm, violations }) => [prefix, loss, norm, violations]),
    [
      [1, 2.5, 3, undefined],
      [2, 2.75, 4, undefined],
    ],
    'lines',
  )
})

test('an evaluation has a line for each prefix, and a loss that is no number is a violation', () => {
  const at = { time: 5, epoch: 1, pass: 1, step: 16, split: 'validation', flops: 1000 } as const
  const found = evaluationMetrics({ images: 10, losses: [3, 2, Number.NaN], accuracies: [0, 1, 0] }, at)
  equal(
    found.map(({ prefix, loss, accuracy, violations }) => [prefix, loss, accuracy, violations]),
    [
      [1, 3, 0, undefined],
      [2, 2, 1, undefined],
      [3, Number.NaN, 0, 1],
    ],
    'scores',
  )
  const { pass, split, flops } = found[0]!
  equal([pass, split, flops], [1, 'validation', 1000], 'what all share')
})

test('ends', () => rmSync(work, { recursive: true }))
run()
