import * as assert from 'uvu/assert'
import { ArgumentError, crossEntropy, noGrad, requestDevice, type Tensor, tensor, UserError } from '../../engine/index.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { countParameters, createModel, type ParaFormer, type ParaFormerConfig } from '../../model/index.ts'
import { BatchLoader } from '../../train/data/loader.ts'
import type { Split } from '../../train/data/split.ts'
import { evaluate } from '../../train/evaluate.ts'
import {
  type BaseModel,
  classTasks,
  cutModel,
  type ExpandOptions,
  type ExpansionRun,
  ExpansionStoppedError,
  expand,
  expandModel,
  type Freeze,
} from '../../train/index.ts'
import { imageTensor } from '../../train/modelInput.ts'
import { type Entries, readState } from '../../train/modelState.ts'
import { instantiate } from '../../train/schemes/index.ts'
import { checkSettings } from '../../train/settings.ts'
import { expansionScheme } from '../../train/study/expand/scheme.ts'
import { trainBase } from '../../train/study/expand/train.ts'
import { EXPANSION_ARMS } from '../../train/study/expand/ways.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'
import { rejects } from '../train/userError.ts'

const SIZES = { imageSize: 8, patchSize: 4, dim: 16, heads: 2, dimHead: 8, mlpDim: 24 }
const device = await requestDevice()
const { test, run } = suite('expand')

/** Images whose quarter of the class is bright, with noise: classes that a tiny model learns in a few steps. */
function quarters(count: number, seed: number): Split {
  const random = new CounterRandom(seed, [0, 0, 9])
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 4)
  const images = Uint8Array.from({ length: count * 64 }, (_, at) => {
    const [row, column] = [(at >> 3) & 7, at & 7]
    const bright = labels[at >> 6] === (row >> 2) * 2 + (column >> 2)
    return random.below(100) + (bright ? 120 : 0)
  })
  return { images, labels, count }
}

const SHAPE = { channels: 1, height: 8, width: 8, mean: [0.3], std: [0.2] }
const source = { name: 'mnist' as const, ...SHAPE, classes: 4, train: quarters(400, 1), test: quarters(80, 2) }
const [first, second] = classTasks(source, [
  [0, 1],
  [2, 3],
])
const tasks = [first!, second!]
const settings = checkSettings({
  ...{ ...SIZES, branches: 2, branchDepth: 1, dropout: 0, batchSize: 20, epochs: 3, lr: 1e-2, warmup: 5, mode: 'serial' },
  ...{ validation: 0.1, seed: 4, trainImages: undefined },
})
const shared: ExpansionRun = { device, shape: SHAPE, settings, mode: 'serial' }
const trained = await trainBase(shared, tasks[0]!)
const { base } = trained
const of = (options: Partial<ExpandOptions> = {}) => expand({ ...shared, tasks, base, ...options })

async function imagesOf(model: ParaFormer, split: Split): Promise<{ images: Tensor; labels: Tensor }> {
  const { images, labels } = await new BatchLoader(SHAPE, split, { batchSize: split.count, shuffle: false }).next()
  return { images: imageTensor(model, images, split.count), labels: tensor(labels) }
}

function load({ config, parameters }: BaseModel): ParaFormer {
  const model = createModel(config) as ParaFormer
  model.loadStateDict(parameters)
  return model
}

/** Whether an old parameter has the same bits in a later model; of the classifier, the rows of the old classes. */
function isKept(name: string, before: Entries, after: Entries): boolean {
  const later = after.get(name)!.data
  return Array.prototype.every.call(before.get(name)!.data, (value: number, i: number) => Object.is(value, later[i]))
}

test('at zero, the expanded model is the old one, to the bit; new classes have logits of their own', async () => {
  const old = load(base)
  const model = await expandModel(base, { add: 2, classes: 4 })
  assert.equal([model.config.branches, model.config.classes], [4, 4])
  const { images } = await imagesOf(old, tasks[0]!.test)
  const [before, after] = [await old.forward(images).data(), await model.forward(images).data()]
  const first = Array.from({ length: before.length }, (_, i) => after[4 * (i >> 1) + (i & 1)])
  assert.equal(first, Array.from(before))
  assert.ok(after.some((value, i) => i % 4 > 1 && value !== 0))
  // The new branches can learn: what scales their output has a gradient.
  const { labels } = await imagesOf(old, tasks[0]!.test)
  crossEntropy(model.forward(images), labels).backward()
  const gradient = await model.branches[2]!.layers[0]!.norm2.weight.grad!.data()
  assert.ok(gradient.some((value) => Math.abs(value) > 1e-6))
})

test('at random, and with the preNorm residual, new branches change the sum; the old ones are there all the same', async () => {
  const preNorm = { ...base.config, residual: 'preNorm' } as ParaFormerConfig
  for (const [config, options] of [
    [base.config, { add: 1, init: 'random' }],
    [preNorm, { add: 1 }],
  ] as const) {
    const model = await expandModel({ ...base, config }, options)
    const { images } = await imagesOf(model, tasks[0]!.test)
    const before = await load({ ...base, config })
      .forward(images)
      .data()
    assertClose(await model.forward(images, { branches: 2 }).data(), before, 1e-6, 'the old prefix')
    const after = await model.forward(images).data()
    assert.ok(after.some((value, i) => Math.abs(value - before[i]!) > 0.01))
  }
  await rejects(expandModel({ ...base, config: preNorm }, { add: 1, init: 'zero' }), /preNorm.*--init random/, UserError)
})

test('the loss is the sum over the prefixes with a new branch; frozen parameters have no gradient', async () => {
  const model = await expandModel(base, { add: 2, init: 'random' })
  const { images, labels } = await imagesOf(model, tasks[0]!.test)
  const expected = await Promise.all([3, 4].map((branches) => crossEntropy(model.forward(images, { branches }), labels).item()))
  for (const freezes of [true, false]) {
    const scheme = instantiate(expansionScheme({ branches: 2, classes: 2, freeze: freezes ? 'branches' : 'none' }), 4)
    const { objective, losses } = scheme.passes[0]![0]!.loss(model, { images, labels, share: 1 })
    assertClose(await losses.data(), expected, 1e-6, 'losses')
    assertClose([await objective.item()], [expected[0]! + expected[1]!], 1e-6, 'objective')
    objective.backward()
    for (const [name, parameter] of model.namedParameters()) {
      assert.is(parameter.grad !== undefined, !freezes || /^(head|branches\.[23])\./.test(name), name)
      parameter.grad = undefined
    }
  }
})

test('all arms: what is frozen keeps its bits, counts and accuracies are those of the models, forgetting is what was lost', async () => {
  const { results, models } = await of({ arms: EXPANSION_ARMS, add: 1 })
  assert.ok(results.base.accuracy > 0.9, `the base learns its task: ${results.base.accuracy}`)
  assert.equal(
    results.arms.map(({ arm }) => arm),
    [...EXPANSION_ARMS],
  )
  for (const { arm, stages } of results.arms) {
    const [stage] = stages
    const model = load(models.get(arm)!)
    const { parameters } = models.get(arm)!
    assert.equal([stages.length, stage!.tasks, stage!.branches], [1, 2, 3])
    const sizes = [...parameters.values()].reduce((sum, { data }) => sum + data.length, 0)
    assert.equal([stage!.parameters, countParameters(model.config).total], [sizes, sizes])
    const each: number[][] = []
    for (const { test } of tasks) {
      const loader = new BatchLoader(SHAPE, test, { batchSize: 16, shuffle: false })
      each.push((await evaluate(model, loader)).accuracies)
    }
    assert.equal(
      stage!.accuracies,
      each.map((prefixes) => prefixes[2]),
    )
    assert.equal(stage!.atPrefix, [each[0]![1], each[1]![2]])
    assert.equal([stage!.old, stage!.new], stage!.accuracies)
    assert.is(stage!.forgetting, results.base.accuracy - stage!.old)
    const kept = [...base.parameters.keys()].filter((name) => isKept(name, base.parameters, parameters))
    const frozen = arm === 'expand' || arm === 'expandReplay'
    const old = [...base.parameters.keys()].filter((name) => !name.startsWith('head.'))
    assert.equal(kept, frozen ? old : [], arm)
    const images = { expand: 180, finetune: 180, scratch: 360 }[arm as 'expand'] ?? 198
    assert.is(stage!.images, 3 * 20 * Math.floor(images / 20), arm)
    assert.is(stage!.optimizerSteps, 3 * Math.floor(images / 20), arm)
  }
  const stageOf = (arm: string) => results.arms.find((found) => found.arm === arm)!.stages[0]!
  assert.ok(stageOf('scratch').old > 0.8 && stageOf('scratch').new > 0.8, 'all data together are learned')
  assert.ok(stageOf('finetune').new > 0.8 && stageOf('finetune').forgetting > 0.5, 'new classes alone push out the old ones')
  assert.ok(stageOf('replay').forgetting < stageOf('finetune').forgetting, 'replay forgets less')
  // The same settings give the same bits.
  const again = await of({ arms: ['expand'], add: 1 })
  const { parameters } = models.get('expand')!
  for (const name of parameters.keys()) assert.ok(isKept(name, parameters, again.models.get('expand')!.parameters), name)
  assert.equal(again.results.arms[0]!.stages[0]!.accuracies, stageOf('expand').accuracies)
})

test('a frozen head has the logits that it had before, and gradients of the new rows alone', async () => {
  const model = await expandModel(base, { add: 2, classes: 4, init: 'random' })
  const { images, labels } = await imagesOf(model, tasks[1]!.test)
  const scheme = (freeze: Freeze) => instantiate(expansionScheme({ branches: 2, classes: 2, freeze }), 4)
  const [plain, frozen] = (['branches', 'head'] as const).map((freeze) =>
    scheme(freeze).passes[0]![0]!.loss(model, { images, labels, share: 1 }),
  )
  assertClose(await frozen!.losses.data(), await plain!.losses.data(), 1e-6, 'losses')
  frozen!.objective.backward()
  const withGradient = model.namedParameters().filter(([, { grad }]) => grad !== undefined)
  const old = withGradient.map(([name]) => name).filter((name) => !/^branches\.[23]\./.test(name))
  assert.equal(old, ['head.linear.weight', 'head.linear.bias'])
  const { weight } = model.head.linear
  const rows = Array.from(await weight.grad!.data())
  assert.ok(rows.slice(0, 2 * SIZES.dim).every((value) => Object.is(value, 0)) && rows.slice(2 * SIZES.dim).some(Boolean))
  for (const [, parameter] of model.namedParameters()) parameter.grad = undefined
  // Without new classes the whole head is constant.
  const domains = instantiate(expansionScheme({ branches: 2, classes: 4, freeze: 'head' }), 4)
  domains.passes[0]![0]!.loss(model, { images, labels, share: 1 }).objective.backward()
  assert.ok(model.namedParameters().every(([name, { grad }]) => (grad !== undefined) === /^branches\.[23]\./.test(name)))
  for (const [, parameter] of model.namedParameters()) parameter.grad = undefined
})

test('with the softmax of the task, new images say nothing about old classes', async () => {
  const model = await expandModel(base, { add: 1, classes: 4, init: 'random' })
  const { images, labels } = await imagesOf(model, tasks[1]!.test)
  const scheme = instantiate(expansionScheme({ branches: 2, classes: 2, freeze: 'branches', softmax: 'task' }), 3)
  const { objective, losses, logits } = scheme.passes[0]![0]!.loss(model, { images, labels, share: 1 })
  objective.backward()
  const rows = Array.from(await model.head.linear.weight.grad!.data())
  assert.ok(rows.slice(0, 2 * SIZES.dim).every((value) => value === 0) && rows.slice(2 * SIZES.dim).some(Boolean))
  const whole = model.forward(images)
  assertClose(await logits.data(), await whole.data(), 1e-6, 'logits, which are those of all classes')
  const own = whole.slice([
    [0, 40],
    [2, 4],
  ])
  assertClose(await losses.data(), [await crossEntropy(own, labels.sub(2)).item()], 1e-5, 'the loss among the new classes')
})

test('a frozen head keeps old rows and their accuracy by the old prefix; with the softmax of the task less is forgotten', async () => {
  const whole = await of({ arms: ['expand'] })
  const apart = await of({ arms: ['expand'], freeze: 'head', softmax: 'task' })
  const [{ parameters }] = [apart.models.get('expand')!]
  for (const name of base.parameters.keys()) assert.ok(isKept(name, base.parameters, parameters), name)
  const [before, after] = [whole, apart].map(({ results }) => results.arms[0]!.stages[0]!)
  assert.ok(after!.forgetting < before!.forgetting, `${after!.forgetting} of ${before!.forgetting}`)
  assert.ok(after!.old > 0.9, `${after!.old} on the old classes`)
  // Nothing compared new logits with old ones, so that the new classes are told apart among themselves alone.
  const model = load(apart.models.get('expand')!)
  const { images, labels } = await imagesOf(model, tasks[1]!.test)
  const among = await noGrad(() =>
    model
      .forward(images)
      .slice([
        [0, 40],
        [2, 4],
      ])
      .argmax(1),
  ).data()
  const expected = Array.from(await labels.data())
  const right = expected.filter((label, i) => label === among[i]! + 2).length / expected.length
  assert.ok(right > 0.8, `${right} among the new classes`)
})

test('an expansion stops between mini-batches and between batches of an evaluation', async () => {
  let asked = 0
  const stop = (after: number) => of({ arms: ['expand'], shouldStop: () => ++asked > after })
  for (const after of [0, 5]) {
    asked = 0
    await rejects(stop(after), /asked to stop/, ExpansionStoppedError)
  }
})

test('without freezing, expand is what finetune is; several tasks append branches one after the other', async () => {
  const learning = await of({ arms: ['expand', 'finetune'], freeze: 'none' })
  const [expanded, finetuned] = [learning.models.get('expand')!.parameters, learning.models.get('finetune')!.parameters]
  for (const name of expanded.keys()) assert.ok(isKept(name, expanded, finetuned), name)
  const three = classTasks(source, [[0, 1], [2], [3]])
  const { results, models } = await of({ tasks: three, arms: ['expand'], add: 2 })
  const [{ stages }] = results.arms as [(typeof results.arms)[0]]
  assert.equal(
    stages.map(({ branches, accuracies }) => [branches, accuracies.length]),
    [
      [4, 2],
      [6, 3],
    ],
  )
  const [before, after] = stages.map(({ accuracies }) => accuracies) as [number[], number[]]
  const best = [Math.max(results.base.accuracy, before[0]!), before[1]!]
  assert.is(stages[1]!.forgetting, (best[0]! - after[0]! + (best[1]! - after[1]!)) / 2)
  const { parameters } = models.get('expand')!
  for (const name of base.parameters.keys())
    if (!name.startsWith('head.')) assert.ok(isKept(name, base.parameters, parameters), name)
})

test('the base is the model that it was trained to be', async () => {
  const model = load(base)
  const { images, labels } = await imagesOf(model, tasks[0]!.test)
  const predicted = await noGrad(() => model.forward(images).argmax(1)).data()
  const expected = Array.from(await labels.data())
  const accuracy = expected.reduce((hits, label, i) => hits + Number(label === predicted[i]), 0) / expected.length
  assert.is((await of({ arms: ['expand'] })).results.base.accuracy, accuracy)
  assert.is(trained.trained.optimizerSteps, 27)
  const { parameters } = await readState({ model })
  assert.equal([...parameters.keys()], [...base.parameters.keys()])
  // A model on a device becomes a base, whole or cut.
  const whole = await cutModel(model, [0, 1], 'float32')
  const { results } = await of({ base: whole, arms: ['expand'] })
  assert.equal(results.arms[0]!.stages[0]!.accuracies, (await of({ arms: ['expand'] })).results.arms[0]!.stages[0]!.accuracies)
})

test('bad input', async () => {
  const vit = { ...base, config: { ...base.config, architecture: 'vit' } as unknown as ParaFormerConfig }
  await rejects(of({ tasks: [tasks[0]!] }), /at least 2 tasks/, UserError)
  await rejects(of({ base: vit }), /a vit has no branches to append/, UserError)
  await rejects(of({ tasks: [tasks[1]!, tasks[0]!] }), /has 2 classes, the first task 4/, UserError)
  await rejects(of({ add: 0 }), /0 is not a number of branches/, UserError)
  await rejects(of({ add: 5000 }), /branches 5002 is not a positive integer of at most 4096/, UserError)
  await rejects(of({ replay: 1.5 }), /share of 1\.5/, UserError)
  await rejects(of({ freeze: 'stem' as 'head' }), /no freeze "stem"; choose from none, branches, head/, UserError)
  await rejects(of({ softmax: 'new' as 'task' }), /no softmax "new"; choose from all, task/, UserError)
  await rejects(of({ arms: [] }), /choose from expand, /, UserError)
  await rejects(of({ arms: ['expand', 'expand'] }), /each once/, UserError)
  await rejects(of({ freez: 'none' } as never), /^expand: unknown option "freez" \(did you mean "freeze"\?\)/, ArgumentError)
  await rejects(of({ device: {} as never }), /^expand: got an object as device/, ArgumentError)
  await rejects(of({ shape: { ...SHAPE, height: 9 } }), /^expand: got .* as tasks\[0\]\.train\.images/, ArgumentError)
  await rejects(of({ settings: { lr: 1 } as never }), /^expand: got undefined as settings\.\w+, takes complete/, ArgumentError)
  await rejects(of({ mode: 'devices' as never }), /^expand: got "devices" as mode, takes one of/, ArgumentError)
  await rejects(of({ runs: { saveEvery: 1 } as never }), /^expand: got undefined as runs\.open/, ArgumentError)
  await rejects(of({ init: 'ones' as never }), /^expand: got "ones" as init, takes one of zero, random/, ArgumentError)
  await rejects(of({ arms: 'expand' as never }), /^expand: got "expand" as arms/, ArgumentError)
  await rejects(of({ base: { ...base, parameters: {} as never } }), /^expand: got an object as base\.parameters/, ArgumentError)
  const expanded = (options: object, of: object = {}) => expandModel({ ...base, ...of }, { add: 1, ...options })
  await rejects(expanded({ add: -1 }), /-1 is not a number of branches/, UserError)
  await rejects(expanded({ add: '1' }), /^expandModel: got "1" as add/, ArgumentError)
  await rejects(expanded({ classes: 1 }), /1 classes are fewer than the 2 of the base/, UserError)
  await rejects(expanded({}, { config: { branches: 2 } }), /^expandModel: got undefined as base\.config\.\w+/, ArgumentError)
  await rejects(expanded({}, { parameters: new Map() }), /the base has no \S+, its config means/, UserError)
  await rejects(expanded({}, { config: { ...base.config, mlpDim: 32 } }), /the base has \d+ values of \S+, its/, UserError)
  const untrained = await readState({ model: createModel(base.config) })
  const head = untrained.parameters.get('head.linear.bias')!
  // One class is predicted for all images.
  head.data = Float32Array.of(1e6, 0)
  await rejects(of({ base: { ...base, parameters: untrained.parameters } }), /no better than chance among 2 classes/, UserError)
})

run()
