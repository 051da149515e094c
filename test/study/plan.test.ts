import * as assert from 'uvu/assert'
import { instantiate, type SchemeName, schemeOf, trainingFlops } from '../../train/schemes/index.ts'
import { checkSettings, modelConfigOf } from '../../train/settings.ts'
import { canonical } from '../../train/study/plan/canonical.ts'
import { type Arm, defineStudy, type Study } from '../../train/study/plan/define.ts'
import { hashOf } from '../../train/study/plan/hash.ts'
import { Plan } from '../../train/study/plan/plan.ts'
import { miniBatchesFor, type WorkQuestion, workOf } from '../../train/study/plan/work.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('plans of studies')
const data = {
  name: 'mnist',
  channels: 1,
  height: 28,
  width: 28,
  classes: 10,
  trainImages: 1000,
  testImages: 100,
  imagesOfClass: Array<number>(10).fill(100),
  hash: 'd',
} as const

function question(scheme: SchemeName, more = {}): WorkQuestion {
  const settings = checkSettings({ scheme, branches: 4, batchSize: 90, validation: 0.1, epochs: 2, patchSize: 7, ...more })
  const config = modelConfigOf(settings, data)
  return { settings, scheme: instantiate(schemeOf(scheme), 4), images: 1000, flopsOf: (step) => trainingFlops(step, config) }
}

function planOf(arms: Record<string, Arm>, more: Partial<Study> = {}, key = {}) {
  const study = defineStudy({
    ...{
      id: 's',
      hypothesis: 'h',
      prediction: 'p',
      metric: 'testAccuracy',
      decisionRule: [],
      arms,
      seeds: [1, 2],
      budget: 'steps',
    },
    presets: { tiny: { validation: 0.1, batchSize: 90, epochs: 2, patchSize: 7 } },
    ...more,
  })
  const loaded = { study, file: 's.ts', code: '', hash: 'c', ...key }
  return new Plan({ loaded, preset: 'tiny', data, place: {} })
}

test('the work of the schemes: steps, images, and operations in units of a joint step', () => {
  const joint = workOf(question('joint'))
  assert.equal([joint.miniBatches, joint.optimizerSteps, joint.images], [20, 20, 1800])
  const paper = workOf(question('paper'))
  assert.equal([paper.miniBatches, paper.optimizerSteps, paper.images], [40, 100, 3600])
  // Stem and head run in every step, so that the ratio is a little more than (m + 3) / 2 for m = 4.
  const ratio = paper.flops / joint.flops
  assert.ok(ratio > 3.5 && ratio < 4, `${ratio}`)
  const random = workOf(question('randomPrefix', { epochs: 50 }))
  const share = random.flops / workOf(question('joint', { epochs: 50 })).flops
  assert.ok(share > 0.55 && share < 0.75, `${share}`)
  assert.is(workOf(question('joint', { maxSteps: 7 })).miniBatches, 7)
})

test('the mini-batches whose work comes nearest to a target', () => {
  const joint = question('joint')
  const step = workOf(question('joint', { maxSteps: 1 })).flops
  assert.is(miniBatchesFor(joint, 'flops', 10.4 * step), 10)
  assert.is(miniBatchesFor(joint, 'flops', 10.6 * step), 11)
  assert.is(miniBatchesFor(joint, 'flops', 0.1 * step), 1)
  // Pass A takes 4 steps on each of 10 mini-batches, pass B one.
  assert.is(miniBatchesFor(question('paper'), 'optimizerSteps', 42), 12)
})

test('arms get the steps of the baseline, or the operations of another arm', () => {
  const plan = planOf(
    {
      paper: { settings: { scheme: 'paper' } },
      joint: { settings: { scheme: 'joint' } },
      atFlops: { settings: { scheme: 'joint' }, budget: { equal: 'flops', to: 'paper' } },
      free: { settings: { scheme: 'joint' }, budget: 'none' },
    },
    { baseline: 'paper' },
  )
  const [paper, joint, atFlops, free] = plan.runs(['paper', 'joint', 'atFlops', 'free'], [1]).map(({ work }) => work)
  assert.equal([paper!.optimizerSteps, joint!.optimizerSteps, free!.optimizerSteps], [100, 100, 20])
  assert.ok(Math.abs(atFlops!.flops / paper!.flops - 1) < 0.02)
  assert.ok(atFlops!.optimizerSteps < 100)
})

test('arms of a budget of time get the mini-batches that take as long as those of the baseline, by measured paces', () => {
  const arms = {
    joint: { settings: { scheme: 'joint' } },
    paper: { settings: { scheme: 'paper' } },
    free: { settings: { scheme: 'joint' }, budget: 'none' },
    twice: { settings: { scheme: 'joint' }, budget: { equal: 'time', to: 'paper' } },
  } as const
  const { inputs } = planOf(arms, { budget: 'time' })
  const runs = (pace: Record<string, number>, seeds = [1]) => new Plan({ ...inputs, pace }).runs(Object.keys(arms), seeds)
  // The baseline has 20 mini-batches of 0.2 s, and 4 s are 13 mini-batches of 0.3 s.
  const paced = runs({ joint: 0.2, paper: 0.3, free: 9, twice: 0.1 })
  assert.equal(
    paced.map(({ work }) => work.miniBatches),
    [20, 13, 20, 39],
  )
  const [joint, paper] = paced
  assert.equal([joint!.settings.maxSteps, joint!.settings.epochs], [undefined, 2])
  // An epoch of the scheme `paper` has two passes of 10 mini-batches.
  assert.equal([paper!.settings.maxSteps, paper!.settings.epochs], [13, 1])
  // An arm that is too slow for one mini-batch takes one; seeds are alike.
  const slow = runs({ joint: 0.2, paper: 1000, free: 9, twice: 0.1 }, [1, 2])
  assert.equal(
    slow.filter(({ arm }) => arm === 'paper').map(({ work }) => work.miniBatches),
    [1, 1],
  )
  // Before anything is measured, lengths are those of the settings.
  assert.equal(
    runs({}).map(({ work }) => work.miniBatches),
    [20, 40, 20, 20],
  )
})

test('arms of a budget of parameters must be alike in them, and budgets must not refer to each other', () => {
  const wide = planOf({ a: { settings: {} }, b: { settings: { dim: 128 } } }, { budget: 'parameters' })
  assert.throws(() => wide.runs(['a', 'b'], [1]), /arm b has \d+ parameters, a has \d+/)
  const circle = planOf({
    a: { settings: {} },
    b: { settings: {}, budget: { equal: 'steps', to: 'c' } },
    c: { settings: {}, budget: { equal: 'steps', to: 'b' } },
  })
  assert.throws(() => circle.runs(['b'], [1]), /in a circle/)
})

test('keys depend on settings, seed, arm and sources, and not on where data lie', () => {
  const arms = { a: { settings: {} }, b: { settings: {} } }
  const keys = (plan: Plan) => plan.runs(['a', 'b'], [1, 2]).map(({ key }) => key)
  const expected = keys(planOf(arms))
  assert.is(new Set(expected).size, 4)
  assert.equal(keys(planOf(arms)), expected)
  const elsewhere = planOf(arms)
  assert.equal(keys(new Plan({ ...elsewhere.inputs, place: { dataDir: '/x' } })), expected)
  const differs = (plan: Plan, from = expected) =>
    assert.equal(
      keys(plan).filter((key) => from.includes(key)),
      [],
    )
  differs(planOf({ a: { settings: { lr: 1 } }, b: { settings: { lr: 1 } } }))
  differs(new Plan({ ...elsewhere.inputs, data: { ...data, hash: 'e' } }))
  // The code of the study counts for arms with functions of their own alone.
  assert.equal(keys(planOf(arms, {}, { hash: 'e' })), expected)
  const scheme = () => schemeOf('joint')
  const own = { a: { settings: {}, scheme }, b: { settings: {}, scheme } }
  differs(planOf(own, {}, { hash: 'e' }), keys(planOf(own)))
})

test('trials draw the same values for all arms', () => {
  const tuning = { trials: 3, space: { lr: { low: 1e-4, high: 1e-1, log: true }, batchSize: [30, 90] } }
  const trials = planOf({ a: { settings: {} }, b: { settings: {} } }, { tuning }).trials(['a', 'b'])
  const values = (name: string) => trials.filter(({ arm }) => arm === name).map(({ trial }) => trial!.values)
  assert.is(values('a').length, 3)
  assert.equal(values('a'), values('b'))
  assert.is(new Set(values('a').map(({ lr }) => lr)).size, 3)
  for (const { lr, batchSize } of values('a')) assert.ok(lr! >= 1e-4 && lr! <= 1e-1 && [30, 90].includes(batchSize!))
})

test('studies that contradict themselves', () => {
  const base = {
    ...{ id: 's', hypothesis: 'h', prediction: 'p', metric: 'm', decisionRule: [], arms: { a: { settings: {} } }, seeds: [1] },
    ...{ budget: 'steps', presets: { tiny: {} } },
  }
  const wrong: [object, RegExp][] = [
    [{ id: 'A b' }, /as id, takes small letters/],
    [{ seeds: [] }, /as seeds/],
    [{ seeds: [1, 2, 1] }, /seed 1 is used twice/],
    [{ budget: 'money' }, /"money" as budget/],
    [{ baseline: 'b' }, /baseline names arm "b"; there are a/],
    [{ arms: {} }, /as arms/],
    [{ arms: { 'a b': { settings: {} } } }, /is no name/],
    [{ arms: { a: { settings: { seed: 1 } } } }, /sets seed, which the study gives/],
    [{ arms: { a: { setting: {} } } }, /unknown option "setting"/],
    [{ decisionRule: [{ claim: 'c', compare: ['a', 'b'], better: 'higher' }] }, /decisionRule names arm "b"/],
    [{ decisionRule: [{ claim: 'c', compare: ['a', 'a'], better: 'more' }] }, /better is "more"/],
    [{ tuning: { trials: 0, space: {} } }, /as trials/],
    [{ tuning: { trials: 1, space: { lr: [] } } }, /as lr/],
    [{ preset: {} }, /unknown option "preset"/],
  ]
  for (const [change, message] of wrong) assert.throws(() => defineStudy({ ...base, ...change } as never), message)
})

test('hashes do not depend on the order of keys', () => {
  assert.is(canonical({ b: 1, a: { d: [2, { f: 1, e: 0 }], c: undefined } }), '{"a":{"d":[2,{"e":0,"f":1}]},"b":1}')
  assert.is(hashOf({ a: 1, b: 2 }), hashOf({ b: 2, a: 1 }))
  assert.is.not(hashOf(new Uint8Array([1])), hashOf(new Uint8Array([2])))
})

run()
