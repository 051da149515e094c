// Arms whose runs do more than training: they compress, time or expand a model.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { checkSettings } from '../../train/settings.ts'
import { studyData } from '../../train/study/plan/data.ts'
import { Plan } from '../../train/study/plan/plan.ts'
import { loadStudy } from '../../train/study/plan/source.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { type Line, resultsOf, writeStudy } from './studies.ts'

const { test, run } = suite('procedures of studies')
const work = mkdtempSync(join(tmpdir(), 'paraformer-procedures-'))
/** Settings with which a model becomes better than chance in a few seconds. */
const tiny = {
  trainImages: 1600,
  testImages: 200,
  batchSize: 32,
  lr: 0.01,
  dim: 16,
  mlpDim: 32,
  epochs: 1,
  flip: false,
  dropout: 0,
}
const arms = `{
  cut: { settings: { branches: 3 }, budget: 'none', procedure: { name: 'compress' } },
  piped: {
    settings: { architecture: 'vit', scheme: 'joint', depth: 3 },
    budget: 'none',
    procedure: { name: 'latency', batches: [1, 2], pipeline: { devices: 2, microBatches: 2 } },
  },
  frozen: { settings: {}, budget: 'none', procedure: { name: 'expand', way: 'expand', add: 2 } },
  scratch: { settings: {}, budget: 'none', procedure: { name: 'expand', way: 'scratch', add: 2 } },
}`
// All arms have this number; some have no test accuracy.
const file = writeStudy(work, { arms, tiny, seeds: '[1]', more: "metric: 'optimizerSteps'," })
const out = join(work, 'out')
const path = join(out, 'small-tiny')
const study = (...args: string[]) => ['study', ...args]

async function succeed(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHere(args)
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}: ${stderr}`)
  return stdout
}

await succeed(study('run', file, '--out', out))
const resultOf = (arm: string) => resultsOf(path).find((result) => result.arm === arm)!
const folderOf = (arm: string) => join(path, 'runs', resultOf(arm).key)
const json = (...parts: string[]) => JSON.parse(readFileSync(join(...parts), 'utf8'))

test('the counted operations and steps of every arm are those of the plan', async () => {
  const loaded = await loadStudy(file)
  const data = await studyData(checkSettings(loaded.study.presets.tiny!))
  const plan = new Plan({ loaded, preset: 'tiny', data, place: {} })
  for (const { arm, work } of plan.runs(Object.keys(loaded.study.arms), [1])) {
    const { optimizerSteps, images, trainingFlops } = resultOf(arm)
    assert.equal([optimizerSteps, images, trainingFlops], [work.optimizerSteps, work.images, work.flops], arm)
  }
})

test('compress measures every prefix of the trained model', () => {
  const { measures, final, parameters } = resultOf('cut')
  const { prefixes, within, images } = json(folderOf('cut'), 'compression.json')
  assert.equal(
    prefixes.map(({ test }: Line) => test),
    final.test.accuracy,
  )
  assert.equal(images.test, 200)
  assert.is(prefixes[2].parameters, parameters)
  const [halfPoint, onePoint] = within
  const of = ({ prefix }: Line) => [prefix, prefixes[prefix - 1].parameters, prefixes[prefix - 1].test]
  const measured = (name: string) => ['branches', 'parameters', 'testAccuracy'].map((what) => measures[`${what}Within${name}`])
  assert.equal(measured('HalfPoint'), of(halfPoint))
  assert.equal(measured('OnePoint'), of(onePoint))
})

test('latency measures forward passes of any architecture, and a pipeline', () => {
  const { measures, final } = resultOf('piped')
  assert.is(final.test.accuracy.length, 1)
  assert.equal(Object.keys(measures), ['forwardSeconds1', 'forwardSeconds2', 'stepSeconds'])
  for (const seconds of Object.values(measures) as number[]) assert.ok(seconds > 0 && seconds < 10)
})

test('expand measures what is learned and forgotten, and ways with one seed share their base', () => {
  const [frozen, scratch] = [resultOf('frozen'), resultOf('scratch')]
  assert.is(frozen.measures.baseAccuracy, scratch.measures.baseAccuracy)
  assert.ok(frozen.measures.baseAccuracy > 0.4)
  assert.is(frozen.parameters, scratch.parameters)
  for (const { arm, measures } of [frozen, scratch]) {
    const { tasks, arms, base } = json(folderOf(arm), 'expansion.json')
    assert.equal(
      tasks.map(({ train, test }: Line) => [train, test]),
      [
        [1600, 200],
        [1600, 200],
      ],
    )
    const [{ stages }] = arms
    assert.equal([stages.length, base.accuracy], [1, measures.baseAccuracy])
    const [{ old, new: now, accuracies, atPrefix, forgetting, branches }] = stages
    assert.is(measures.oldAtPrefix, atPrefix[0])
    assert.equal([old, now], accuracies)
    assert.equal([measures.oldAccuracy, measures.newAccuracy, measures.forgetting], [old, now, forgetting])
    assert.is(measures.accuracy, (old + now) / 2)
    assert.is(branches, 4)
    assert.not(existsSync(join(folderOf(arm), 'checkpoint.safetensors')))
  }
  assert.ok(scratch.measures.forgetting < frozen.measures.forgetting)
})

test('status and report show the metric of such a study', async () => {
  const html = join(work, 'report.html')
  const { stderr } = await runHere(study('report', path, '--out', html))
  assert.not.match(stderr, /has no curves/)
  const shown = readFileSync(html, 'utf8')
  for (const title of ['Compression of cut, seed 1', 'Expansion of frozen, seed 1', 'Attention of cut, seed 1'])
    assert.ok(shown.includes(title), title)
})

test('bad input: one line each', async () => {
  const refused = (arm: string, message: RegExp, more = {}) => {
    const bad = writeStudy(work, { arms: `{ a: ${arm} }`, tiny, ...more })
    return expectUserError(study('run', bad, '--out', join(work, 'no')), message)
  }
  const expand = (more: string) => `{ settings: {}, procedure: { name: 'expand', way: 'expand'${more} } }`
  await refused(`{ settings: {}, procedure: { name: 'cut' } as never }`, /a name of compress, latency, expand/)
  await refused(
    `{ settings: {}, procedure: { name: 'compress', ways: 1 } as never }`,
    /procedure compress of arm a has no option ways/,
  )
  const piped = (settings: string, pipeline: string) =>
    `{ settings: ${settings}, procedure: { name: 'latency', pipeline: ${pipeline} } }`
  await refused(piped('{}', '{ devices: 1, microBatches: 2 }'), /as pipeline.devices, takes a whole number of at least 2/)
  await refused(piped('{}', '{ devices: 2 } as never'), /as pipeline.microBatches, takes a whole number of at least 1/)
  await refused(piped('{}', '{ devices: 2, microBatches: 2 }'), /has a pipeline, which needs a vit, not a paraformer/)
  await refused(
    piped("{ architecture: 'vit', depth: 3 }", '{ devices: 4, microBatches: 2 }'),
    /divides 3 layers over 4 devices; use fewer/,
  )
  await refused(
    `{ settings: { architecture: 'vit', depth: 3 }, procedure: { name: 'compress' } }`,
    /procedure compress of arm a needs a paraformer, not a vit/,
  )
  await refused(expand(', tasks: 1'), /as tasks, takes a whole number of at least 2/)
  await refused(expand(', split: "halves" as never'), /as split, takes classes, permuted or rotated/)
  await refused(
    `{ settings: {}, budget: { equal: 'steps', to: 'a' }, procedure: { name: 'expand', way: 'expand' } }`,
    /refers to itself|no budget changes/,
  )
  await refused(expand(''), /cannot be tuned/, { more: 'tuning: { trials: 1, space: { lr: [0.1] } },' })
})

test('ends', () => rmSync(work, { recursive: true }))
run()
