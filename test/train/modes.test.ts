import * as assert from 'uvu/assert'
import { randn, requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
import { createModel, MODES, type Mode } from '../../model/index.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { BRANCH_SCHEMES, captureStep, makeScheme, optimizerStep, type SchemeName } from '../../train/schemes/index.ts'
import { assertClose } from '../harness/errors.ts'
import { quick, suite } from '../harness/suite.ts'

const STEPS = 3
const device = await requestDevice()
const { test, run } = suite('execution modes')

interface Followed {
  values: number[]
  counter: number
}

/** Trains a model with dropout for a few steps. @returns losses, norms, predictions and final parameters */
async function follow(name: SchemeName, mode: Mode, captured: boolean, parts = 1): Promise<Followed> {
  device.random.seed = 11
  const model = createModel({
    architecture: 'paraformer',
    imageSize: 12,
    patchSize: 4,
    channels: 1,
    dim: 24,
    heads: 2,
    dimHead: 12,
    mlpDim: 40,
    branches: 3,
    branchDepth: 2,
    classes: 5,
    dropout: 0.2,
  })
  model.train()
  const optimizer = new AdamW(model.namedParameters())
  const scheme = makeScheme(name, 3, { mode })
  const values: number[] = []
  const steps = new Map(
    scheme.passes.flat().map((objective) => [objective, captured ? captureStep(model, optimizer, objective, 0.5) : undefined]),
  )
  for (let step = 0; step < STEPS; step++) {
    const batches = Array.from({ length: parts }, (_, part) => ({
      images: randn([7 - part, 1, 12, 12]),
      labels: tensor(Int32Array.from({ length: 7 - part }, (_, i) => (i + step) % 5)),
      share: parts === 1 ? 1 : (7 - part) / 13,
    }))
    for (const objective of scheme.passes.flat()) {
      const lr = 1e-3 * (step + 1)
      const result = steps.get(objective)?.(batches, lr) ?? optimizerStep(model, optimizer, objective, batches, lr, 0.5)
      for (const t of [result.losses, result.norm, result.predicted]) values.push(...(await t.data()))
    }
  }
  for (const [, parameter] of model.namedParameters()) values.push(...(await parameter.data()))
  const { counter } = device.random
  for (const step of steps.values()) step?.dispose()
  optimizer.dispose()
  for (const [, parameter] of model.namedParameters()) parameter.dispose()
  return { values, counter }
}

for (const name of BRANCH_SCHEMES) {
  test(`${name}: captured steps and every mode give the numbers of eager serial steps, dropout on`, async () => {
    const expected = await follow(name, 'serial', false)
    assert.ok(expected.values.every(Number.isFinite))
    for (const mode of MODES) {
      const eagerToo = !quick || name === 'prefixSum'
      for (const captured of eagerToo ? [false, true] : [true]) {
        const { values, counter } = await follow(name, mode, captured)
        const what = `${mode}${captured ? ' captured' : ''}`
        assert.is(counter, expected.counter, what)
        if (mode === 'coalesced') assertClose(values, expected.values, 1e-6, what)
        else
          assert.ok(values.length === expected.values.length && values.every((v, i) => Object.is(v, expected.values[i])), what)
      }
    }
  })
}

test('micro-batches of different sizes are accumulated alike', async () => {
  const expected = await follow('prefixSum', 'serial', false, 2)
  for (const mode of MODES) {
    const { values } = await follow('prefixSum', mode, true, 2)
    assertClose(values, expected.values, mode === 'coalesced' ? 1e-6 : 0, mode)
  }
})

test('gradients of an eager forward pass are the same in every mode', async () => {
  device.random.seed = 3
  const model = createModel({
    architecture: 'paraformer',
    imageSize: 8,
    patchSize: 4,
    channels: 1,
    dim: 16,
    heads: 2,
    dimHead: 8,
    mlpDim: 24,
    branches: 4,
    branchDepth: 1,
    classes: 3,
  })
  const images = randn([2, 1, 8, 8])
  const gradients = async (mode: Mode) => {
    scope(() => model.forward(images, { mode }).sum().backward())
    const all: number[] = []
    for (const [, parameter] of model.namedParameters()) {
      const grad = parameter.grad as Tensor
      all.push(...(await grad.data()))
      grad.dispose()
      parameter.grad = undefined
    }
    return all
  }
  const expected = await gradients('serial')
  assert.equal(await gradients('streams'), expected)
  assertClose(await gradients('coalesced'), expected, 1e-6, 'coalesced')
})

test('ends', () => device.destroy())
run()
