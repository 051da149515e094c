import * as assert from 'uvu/assert'
import { crossEntropy, randn, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { createModel, type ParaFormer, type ViT } from '../../model/index.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { defineScheme, instantiate, makeScheme, type Objective, optimizerStep, stepsAt } from '../../train/schemes/index.ts'
import { checkSettings } from '../../train/settings.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'
import { throws } from './userError.ts'

const M = 3
const SIZES = { imageSize: 8, patchSize: 4, channels: 1, dim: 16, heads: 2, dimHead: 8, mlpDim: 24, classes: 5, dropout: 0 }
const device = await requestDevice()
const { test, run } = suite('training schemes')

function paraformer(): ParaFormer {
  device.random.seed = 5
  return createModel({ architecture: 'paraformer', branches: M, branchDepth: 1, ...SIZES }) as ParaFormer
}

function batch(): { images: Tensor; labels: Tensor; share: number } {
  device.random.seed = 9
  return { images: randn([6, 1, 8, 8]), labels: tensor(Int32Array.from([0, 1, 2, 3, 4, 0])), share: 1 }
}

async function gradientsOf(objective: Objective, model = paraformer()): Promise<Map<string, Float32Array | undefined>> {
  objective.loss(model, batch()).objective.backward()
  const found = new Map<string, Float32Array | undefined>()
  for (const [name, { grad }] of model.namedParameters()) found.set(name, (await grad?.data()) as Float32Array | undefined)
  return found
}

const only = (name: Parameters<typeof makeScheme>[0], options = {}) => makeScheme(name, M, options).passes[0]![0]!

test('randomPrefix draws every prefix about as often, and the same again at the same place of the same seed', () => {
  const scheme = makeScheme('randomPrefix', M)
  const draw = (seed: number, updates: number) =>
    stepsAt(scheme, 0, () => ({ step: updates, total: 3000, random: new CounterRandom(seed, [updates, 0, 5]) }))
  const counts = Array(M).fill(0) as number[]
  for (let i = 0; i < 3000; i++) {
    const steps = draw(1, i)
    assert.is(steps.length, 1)
    counts[steps[0]!.branches - 1]!++
    assert.is(draw(1, i)[0], steps[0])
  }
  // A thousand each, give or take 4 standard deviations of 25.8.
  assert.ok(
    counts.every((count) => Math.abs(count - 1000) < 104),
    `${counts}`,
  )
  assert.ok(
    Array.from({ length: 30 }, (_, i) => i).some((i) => draw(1, i)[0] !== draw(2, i)[0]),
    'another seed draws others',
  )
})

test('greedy: in phase k only branch k and head learn, in phase 1 the stem too', async () => {
  const scheme = makeScheme('greedy', M)
  const random = new CounterRandom(0, [0, 0, 5])
  const at = (step: number) => stepsAt(scheme, 0, () => ({ step, total: 10, random }))[0]!.branches
  assert.equal([0, 3, 4, 6, 7, 9].map(at), [1, 1, 2, 2, 3, 3])
  for (const [i, objective] of scheme.passes[0]!.entries()) {
    const learns = (name: string) => {
      if (name.startsWith('head.')) return true
      return name.startsWith('branches.') ? name.startsWith(`branches.${i}.`) : i === 0
    }
    for (const [name, gradient] of await gradientsOf(objective)) {
      assert.is(gradient !== undefined, learns(name), `phase ${i + 1}: ${name}`)
    }
    // A parameter that learns has the gradient that it would have if nothing were frozen.
    const whole = await gradientsOf(makeScheme('paper', M).passes[0]![i]!)
    for (const [name, gradient] of await gradientsOf(objective)) {
      if (gradient) assertClose(gradient, whole.get(name)!, 1e-6, `phase ${i + 1}: ${name}`)
    }
  }
})

test('greedy: what is frozen keeps its bits through an optimizer step, decay included', async () => {
  const model = paraformer()
  const optimizer = new AdamW(model.namedParameters(), { weightDecay: 0.1 })
  const values = async () =>
    new Map(await Promise.all(model.namedParameters().map(async ([n, p]) => [n, await p.data()] as const)))
  const before = await values()
  optimizerStep(model, optimizer, makeScheme('greedy', M).passes[0]![1]!, [batch()], 0.01, 1)
  for (const [name, now] of await values()) {
    const same = now.every((value, i) => Object.is(value, before.get(name)![i]))
    assert.is(same, !/^(head|branches\.1)\./.test(name), name)
  }
})

test('independent: the gradient is that of the sum of the losses of single branches; the loss of their sum is reported', async () => {
  const model = paraformer()
  const { images, labels } = batch()
  const outputs = model.branchOutputs(images)
  const expected = outputs.map((output) => crossEntropy(model.head.forward(output), labels))
  const { objective, losses } = only('independent').loss(model, batch())
  const sum = (await Promise.all(expected.map((loss) => loss.item()))).reduce((a, b) => a + b)
  assertClose([await objective.item()], [sum], 1e-6, 'objective')
  assertClose(await losses.data(), [await crossEntropy(model.forward(images), labels).item()], 1e-6, 'reported')
  const alone = paraformer()
  const parts = alone.branchOutputs(batch().images).map((output) => crossEntropy(alone.head.forward(output), batch().labels))
  parts.reduce((a, b) => a.add(b)).backward()
  const gradients = await gradientsOf(only('independent'))
  for (const [name, { grad }] of alone.namedParameters()) assertClose(gradients.get(name)!, await grad!.data(), 1e-5, name)
})

test('the hinge adds what a prefix loses against the one before, which is a constant for it', async () => {
  const [plain, hinged] = [only('prefixSum'), only('prefixSum', { hinge: 2 })]
  const model = paraformer()
  const losses = Array.from(await plain.loss(model, batch()).losses.data())
  const excess = losses.slice(1).map((loss, i) => Math.max(0, loss - losses[i]!))
  assert.ok(excess.some((value) => value > 0) && excess.some((value) => value === 0), `a case of both kinds: ${losses}`)
  const value = await hinged.loss(model, batch()).objective.item()
  const sum = losses.reduce((a, b) => a + b)
  assertClose([value], [sum + 2 * excess.reduce((a, b) => a + b)], 1e-6, 'objective')
  // The same gradient as that of weights which count a prefix loss 1 + hinge times where it is above the one before.
  const weights = losses.map((loss, i) => (i > 0 && loss > losses[i - 1]! ? 3 : 1))
  const [a, b] = [await gradientsOf(hinged), await gradientsOf(only('prefixSum', { weights }))]
  for (const [name, gradient] of a) assertClose(gradient!, b.get(name)!, 1e-6, name)
})

test('everyLayer: rows are the logits after each layer, the last those of the model; all losses are minimized', async () => {
  device.random.seed = 5
  for (const pool of ['cls', 'mean'] as const) {
    const config = { architecture: 'vit', depth: 3, ...SIZES, pool } as const
    const model = createModel(config) as ViT
    const { images, labels } = batch()
    const logits = model.forwardLayers(images) // [3, B, 5]
    assert.equal(logits.shape, [3, 6, 5])
    assertClose(await logits.slice([[2, 3]]).data(), await model.forward(images).data(), 1e-5, 'last')
    const shallow = createModel({ ...config, depth: 1 }) as ViT
    shallow.loadStateDict(
      Object.fromEntries(Object.entries(model.stateDict()).filter(([name]) => !/layers\.[12]\./.test(name))),
    )
    assertClose(await logits.slice([[0, 1]]).data(), await shallow.forward(images).data(), 1e-5, 'first')
    const objective = makeScheme('everyLayer', 1).passes[0]![0]!
    const each = await Promise.all(
      [0, 1, 2].map((l) => crossEntropy(logits.slice([[l, l + 1]]).reshape([6, 5]), labels).item()),
    )
    const found = objective.loss(model, { images, labels, share: 1 })
    assertClose([await found.objective.item()], [each[0]! + each[1]! + each[2]!], 1e-6, 'objective')
    assertClose(await found.losses.data(), [each[2]!], 1e-6, 'reported')
  }
})

test("a scheme of one's own, and what is refused", () => {
  const own = defineScheme({ name: 'mine', make: (m) => ({ passes: [[makeScheme('joint', m).passes[0]![0]!]] }) })
  const scheme = instantiate(own, M)
  assert.is(scheme.name, 'mine')
  assert.is(stepsAt(scheme, 0, () => ({ step: 0, total: 1, random: new CounterRandom(0, [0, 0, 0]) }))[0], scheme.passes[0]![0])
  throws(() => defineScheme({ name: '', make: () => ({ passes: [] }) }), /defineScheme: got "" as name/)
  throws(() => defineScheme({ name: 'x' } as never), /make/)
  throws(() => instantiate({ name: 'x', make: () => ({ passes: [] }) }, M), /scheme x: make\(\) gives passes/)
  throws(() => instantiate({ name: 'x', make: () => ({ passes: [[]] }) }, M), /at least one pass of one objective/)
  const stray = { name: 'x', passes: scheme.passes, choose: () => only('joint') }
  throws(() => stepsAt(stray, 0, () => ({ step: 0, total: 1, random: new CounterRandom(0, [0, 0, 0]) })), /that the pass lacks/)
  throws(() => makeScheme('prefixSum', M, { hinge: -1 }), /hinge/)
  throws(() => checkSettings({ scheme: 'everyLayer' }), /needs --architecture vit/)
  throws(() => checkSettings({ scheme: 'greedy', architecture: 'vit' }), /needs branches/)
  throws(() => checkSettings({ scheme: 'greedy', mode: 'devices' }), /freezes branches/)
  throws(() => checkSettings({ scheme: 'joint', hinge: 1 }), /--hinge has no effect/)
  assert.is(checkSettings({ scheme: 'everyLayer', architecture: 'vit' }).scheme, 'everyLayer')
})

run()
