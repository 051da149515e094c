import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { type Line, linesOf, type StudyText, writeStudy } from './studies.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-study-'))
const { test, slow, run } = suite('studies')

let folders = 0
/** Writes a study into a folder of its own. */
function study(text?: StudyText): { file: string; out: string; path: string } {
  const folder = join(work, String(folders++))
  mkdirSync(folder)
  return { file: writeStudy(folder, text), out: join(folder, 'out'), path: join(folder, 'out', 'small-tiny') }
}

async function succeed(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await runHere(['study', ...args])
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}: ${stderr}`)
  return { stdout, stderr }
}

const whole = study()

test('a run has a line with all that it must record, and its test images were evaluated once', async () => {
  const { stdout, stderr } = await succeed('run', whole.file, '--out', whole.out)
  assert.match(stderr, /the same seed twice gives the same bits in 2 arms/)
  assert.match(stdout, /all runs are finished/)
  const results = linesOf(whole.path, 'results.jsonl')
  assert.is(results.length, 4)
  for (const result of results) {
    const { settings, optimizerSteps, images, trainingFlops, parameters, final, commit, versions } = result as Line
    assert.is(settings.seed, result.seed)
    assert.equal([optimizerSteps, images], [16, 128])
    assert.ok(trainingFlops > 1e5 && parameters > 100 && typeof commit === 'string' && versions.webgpu)
    assert.equal([final.test.loss.length, final.validation.accuracy.length], [2, 2])
    for (const name of ['coldSeconds', 'warmSeconds', 'wallSeconds', 'peakBytes']) assert.ok(result[name] > 0, name)
    const metrics = linesOf(whole.path, 'runs', result.key, 'metrics.jsonl')
    assert.equal([...new Set(metrics.map(({ split }) => split))].sort(), ['train', 'validation'])
  }
})

test('status and a dry run say what there is, and do nothing', async () => {
  const status = await succeed('status', '--out', whole.out)
  assert.match(status.stdout, /study small, preset tiny[\s\S]*2 of 2[\s\S]*all runs are finished/)
  const { file, out } = study()
  const dry = await succeed('run', file, '--out', out, '--dry-run', '--arms', 'every', '--seeds', '2')
  assert.match(dry.stdout, /every +2 +run +16 +16 .*missing[\s\S]*1 of 1 are missing: .*FLOPs, \d+ s expected/)
  assert.equal(readdirSync(join(out, '..')), ['small.ts'])
})

test('bad input: one line each', async () => {
  const { file, out } = whole
  const run = (...more: string[]) => ['study', 'run', ...more]
  await expectUserError(run('nothing'), /no such study; name one of .*schemes/)
  await expectUserError(run(file, '--out', out, '--arms', 'joint,evry'), /has no arm "evry" \(did you mean "every"\?\)/)
  await expectUserError(run(file, '--out', out, '--seeds', '1,1'), /seed 1 is named twice/)
  await expectUserError(run(file, '--out', out, '--seeds', '9'), /has no seed 9; there are 1, 2/)
  await expectUserError(run(file, '--out', out, '--preset', 'huge'), /has no preset huge; there are tiny/)
  await expectUserError(run(study({ seeds: '[1, 1]' }).file), /seed 1 is used twice/)
  await expectUserError(run(study({ more: ')' }).file), /small\.ts:\d+:\d+: the study does not compile: /)
  await expectUserError(run(study({ tiny: { validation: 0 } }).file), /arm joint: .*set validation above 0/)
  await expectUserError(run(study({ arms: '{ a: { settings: { speed: 1 } as never } }' }).file), /unknown setting "speed"/)
  await expectUserError(['study', 'status', work], /holds no study/)
  const spoil = async (how: (path: string) => void, message: RegExp) => {
    const copy = join(work, String(folders++))
    cpSync(out, copy, { recursive: true })
    how(join(copy, 'small-tiny'))
    await expectUserError(run(file, '--out', copy), message)
  }
  const line = readFileSync(join(whole.path, 'results.jsonl'), 'utf8').split('\n')[0]!
  const change = (name: string, value: unknown) => (path: string) => {
    writeFileSync(join(path, 'results.jsonl'), `${JSON.stringify({ ...JSON.parse(line), [name]: value })}\n`)
  }
  await spoil(
    (path) => appendFileSync(join(path, 'results.jsonl'), `${line}\n`),
    /line 5: arm \w+ has seed \d already, in line 1/,
  )
  await spoil(change('registration', 'abc'), /line 1: is a result of another registration/)
  await spoil(change('format', 2), /line 1: is of format 2, .* use a newer version/)
  await spoil(change('arm', 'third'), /line 1: arm third is not registered/)
  await spoil(change('seed', -1), /line 1 is malformed: seed is -1/)
  const registered = (how: (content: Line) => object) => (path: string) => {
    const content = JSON.parse(readFileSync(join(path, 'registered.json'), 'utf8'))
    writeFileSync(join(path, 'registered.json'), JSON.stringify({ ...content, ...how(content) }))
  }
  await spoil(
    registered(() => ({ format: 2 })),
    /registered\.json: is of format 2/,
  )
  await spoil(
    registered(({ statement }) => ({ statement: { ...statement, prediction: 'q' } })),
    /was changed by hand/,
  )
})

test('an export has what a report draws and nothing large, and the study goes on from it', async () => {
  const to = join(work, 'exported', 'small-tiny')
  const { stdout } = await succeed('export', whole.path, to)
  assert.match(stdout, /^4 runs, \d+ kB: /)
  assert.equal(readFileSync(join(to, 'results.jsonl'), 'utf8'), readFileSync(join(whole.path, 'results.jsonl'), 'utf8'))
  for (const { key } of linesOf(to, 'results.jsonl')) {
    assert.equal(readdirSync(join(to, 'runs', key)).sort(), ['attention.json', 'metrics.jsonl', 'settings.json'])
    const evaluations = linesOf(whole.path, 'runs', key, 'metrics.jsonl').filter(({ split }) => split === 'validation')
    assert.ok(evaluations.length >= 4)
    assert.equal(linesOf(to, 'runs', key, 'metrics.jsonl'), evaluations)
  }
  const html = join(work, 'exported.html')
  const report = await succeed('report', to, '--out', html)
  assert.match(report.stdout, /^[1-9]\d* figures/)
  assert.match(readFileSync(html, 'utf8'), /Validation: prefixes against mini-batches/)
  const again = await succeed('run', whole.file, '--out', join(work, 'exported'))
  assert.match(again.stdout, /all runs are finished/)
  await expectUserError(['study', 'export', work, to], /holds no results of a study/)
  const other = join(work, 'exported-other')
  mkdirSync(other)
  const registered = JSON.parse(readFileSync(join(to, 'registered.json'), 'utf8'))
  writeFileSync(join(other, 'registered.json'), JSON.stringify({ ...registered, hash: 'abc' }))
  await expectUserError(['study', 'export', whole.path, other], /was changed by hand/)
})

test('a study that changed after its registration is refused without a reason, and a deviation runs anew what it concerns', async () => {
  const copy = join(work, 'changed')
  cpSync(whole.out, copy, { recursive: true })
  const slower = study({
    arms: "{ joint: { settings: { scheme: 'joint' } }, every: { settings: { scheme: 'prefixSum', lr: 1e-4 } } }",
  })
  await expectUserError(['study', 'run', slower.file, '--out', copy], /arms\.every changed after .*--deviate/)
  const other = study({ hypothesis: 'h2' })
  await expectUserError(['study', 'run', other.file, '--out', copy], /hypothesis changed after/)
  const before = linesOf(copy, 'small-tiny', 'results.jsonl')
  await succeed('run', slower.file, '--out', copy, '--deviate', 'lr was a slip')
  const { deviations } = JSON.parse(readFileSync(join(copy, 'small-tiny', 'registered.json'), 'utf8'))
  assert.equal(
    deviations.map(({ reason, changed }: Line) => [reason, changed]),
    [['lr was a slip', ['arms.every']]],
  )
  const after = linesOf(copy, 'small-tiny', 'results.jsonl')
  const of = (lines: Line[], arm: string) => lines.filter((line) => line.arm === arm)
  assert.equal(of(after, 'joint'), of(before, 'joint'))
  assert.equal(
    of(after, 'every').map(({ settings }) => settings.lr),
    [1e-4, 1e-4],
  )
  assert.equal(linesOf(copy, 'small-tiny', 'superseded.jsonl').length, 2)
})

test('tuning tries the same values for each arm, on validation images alone, and its best are used', async () => {
  const { file, out, path } = study({
    more: 'tuning: { trials: 2, space: { lr: { low: 1e-12, high: 1e-1, log: true } } },',
    seeds: '[1]',
  })
  await succeed('run', file, '--out', out)
  const trials = linesOf(path, 'trials.jsonl')
  const valuesOf = (arm: string) => trials.filter((trial) => trial.arm === arm).map(({ values }) => values.lr)
  assert.is(valuesOf('joint').length, 2)
  assert.equal(valuesOf('every'), valuesOf('joint'))
  for (const key of readdirSync(join(path, 'trials'))) {
    const { final } = JSON.parse(readFileSync(join(path, 'trials', key, 'run.json'), 'utf8'))
    assert.equal(Object.keys(final), ['validation'])
  }
  for (const { arm, settings, trials: of } of linesOf(path, 'results.jsonl')) {
    const score = ({ validation }: Line) => validation.accuracy.at(-1)
    const own = trials.filter((trial) => trial.arm === arm)
    const best = own.reduce((found, trial) => (score(trial) > score(found) ? trial : found))
    assert.equal([settings.lr, of], [best.values.lr, 2])
  }
})

slow('a budget of time gives an arm the mini-batches that its measured time says, and keeps them when it goes on', async () => {
  const arms = "{ joint: { settings: { scheme: 'joint' } }, paper: { settings: { scheme: 'paper' } } }"
  const { file, out, path } = study({ arms, seeds: '[1]', tiny: { epochs: 6 } })
  const text = readFileSync(file, 'utf8').replace("budget: 'parameters'", "budget: 'time'")
  writeFileSync(file, text)
  await succeed('run', file, '--out', out)
  const [check] = JSON.parse(readFileSync(join(path, 'checks.json'), 'utf8')).checks
  const lines = linesOf(path, 'results.jsonl')
  const of = (name: string) => lines.find(({ arm }) => arm === name)!
  // The baseline has 6 epochs of 8 mini-batches; the scheme `paper` takes one or two steps on each of its own.
  assert.equal([of('joint').optimizerSteps, of('joint').images], [48, 48 * 8])
  const expected = (48 * check.arms.joint.seconds) / check.arms.paper.seconds
  assert.ok(Math.abs(of('paper').images / 8 - expected) <= 1, `${of('paper').images} images, ${expected} mini-batches`)
  await succeed('export', path, join(work, 'timed', 'small-tiny'))
  const again = await succeed('run', file, '--out', join(work, 'timed'))
  assert.match(again.stdout, /all runs are finished/)
  assert.equal(linesOf(work, 'timed', 'small-tiny', 'results.jsonl'), lines)
})

/** Schemes whose loss becomes too large in the second pass. */
const wild = `wild: { settings: {}, scheme: defineScheme({ name: 'wild', make(m) {
    const [[step]] = makeScheme('joint', m).passes as never
    const loss = (model, batch) => { const found = step.loss(model, batch); return { ...found, objective: found.objective.mul(1e30) } }
    return { passes: [[step], [{ ...step, loss }]] } } }) }`

test('a run that diverges has a line that says so, and is not run again', async () => {
  const { file, out, path } = study({ arms: `{ joint: { settings: {} }, ${wild} }`, seeds: '[1]' })
  const first = await succeed('run', file, '--out', out)
  assert.match(first.stderr, /wild, seed 1: diverged: training stopped: NaN or infinity in mini-batch \d+/)
  assert.match(first.stdout, /wild +1 of 1, 1 diverged +- +-[\s\S]*all runs are finished/)
  const of = (name: string) => linesOf(path, 'results.jsonl').find(({ arm }) => arm === name)!
  assert.is(of('joint').diverged, undefined)
  const { diverged, final, optimizerSteps, images, trainingFlops, adapter } = of('wild')
  assert.match(diverged, /mini-batch (9|1\d) of epoch 1/)
  assert.equal(final, {
    validation: { loss: [null, null], accuracy: [null, null] },
    test: { loss: [null, null], accuracy: [null, null] },
  })
  assert.ok(optimizerSteps >= 8 && optimizerSteps < 16 && images === 8 * optimizerSteps && trainingFlops > 0 && adapter)
  const lines = readFileSync(join(path, 'results.jsonl'), 'utf8')
  await succeed('run', file, '--out', out)
  assert.is(readFileSync(join(path, 'results.jsonl'), 'utf8'), lines)
})

slow('trials that diverge lose', async () => {
  const tuned = study({
    seeds: '[1]',
    more: 'tuning: { trials: 2, space: { maxNorm: [1] } },',
    arms: `{ ${wild} }`,
  })
  const { code, stderr } = await runHere(['study', 'run', tuned.file, '--out', tuned.out])
  assert.is(code, 2)
  assert.match(stderr, /every trial of arm wild diverged \(training stopped: NaN/)
  const trials = linesOf(tuned.path, 'trials.jsonl').filter(({ arm }) => arm === 'wild')
  assert.ok(trials.length === 2 && trials.every(({ failed, validation }) => failed && validation === undefined))
})

test('an arm whose seed gives other bits each time is refused', async () => {
  const arms = `{ dice: { settings: {}, scheme: defineScheme({ name: 'dice', make(m) {
    const [[step]] = makeScheme('joint', m).passes as never
    const loss = (model, batch) => { const found = step.loss(model, batch); return { ...found, objective: found.objective.mul(1 + Math.random()) } }
    return { passes: [[{ ...step, loss }]] } } }) } }`
  const { file, out } = study({ arms })
  const { code, stderr } = await runHere(['study', 'run', file, '--out', out])
  assert.is(code, 2)
  assert.match(stderr, /arm dice: the same seed twice gives different bits/)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
