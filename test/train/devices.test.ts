import * as assert from 'uvu/assert'
import { randn, requestDevice, scope, tensor } from '../../engine/index.ts'
import { createModel, type ParaFormer } from '../../model/index.ts'
import { spreadBranches } from '../../train/devices/spread.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { makeScheme, optimizerStep, SCHEME_NAMES, type SchemeName } from '../../train/schemes.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const STEPS = 5
const BATCH = 6
/** Branches: what 2 and 3 devices get is uneven. */
const BRANCHES = 5
const PIXELS = 12 * 12
const adamW = { weightDecay: 0.1 }
const device = await requestDevice()
const { test, run } = suite('branches on several devices')

function makeModel(): ParaFormer {
  return createModel({
    architecture: 'paraformer',
    imageSize: 12,
    patchSize: 4,
    channels: 1,
    dim: 24,
    heads: 2,
    dimHead: 12,
    mlpDim: 40,
    branches: BRANCHES,
    branchDepth: 1,
    classes: 5,
    dropout: 0.2,
  }) as ParaFormer
}

/** Mini-batches drawn once, the same for all. */
const batches = await Promise.all(
  Array.from({ length: STEPS }, async (_, step) => {
    const images = randn([BATCH, 1, 12, 12])
    const data = (await images.data()) as Float32Array
    images.dispose()
    return { images: Float32Array.from(data), labels: Int32Array.from({ length: BATCH }, (_, i) => (i + step) % 5) }
  }),
)

interface Followed {
  /** Losses and norms of all steps. */
  losses: number[]
  norms: number[]
  predicted: number[]
  parameters: Map<string, ArrayLike<number>>
  moments: Map<string, ArrayLike<number>>
  steps: Record<string, number>
  counter: number
}

/** Steps on one device, one branch after the other. */
async function serial(name: SchemeName, parts: number): Promise<Followed> {
  device.random.seed = 11
  const model = makeModel()
  model.train()
  const optimizer = new AdamW(model.namedParameters(), adamW)
  const found: Followed = {
    losses: [],
    norms: [],
    predicted: [],
    parameters: new Map(),
    moments: new Map(),
    steps: {},
    counter: 0,
  }
  for (const [step, { images, labels }] of batches.entries()) {
    for (const objective of makeScheme(name, BRANCHES).passes.flat()) {
      const result = scope(() => {
        const size = BATCH / parts
        const micro = Array.from({ length: parts }, (_, i) => ({
          images: tensor(images.subarray(i * size * PIXELS, (i + 1) * size * PIXELS), { shape: [size, 1, 12, 12] }),
          labels: tensor(labels.subarray(i * size, (i + 1) * size)),
          share: 1 / parts,
        }))
        return optimizerStep(model, optimizer, objective, micro, 1e-3 * (step + 1), 0.5)
      })
      found.losses.push(...(await result.losses.data()))
      found.norms.push(await result.norm.item())
      found.predicted.push(...(await result.predicted.data()))
      for (const t of [result.losses, result.norm, result.predicted]) t.dispose()
    }
  }
  for (const [key, t] of model.namedParameters()) found.parameters.set(key, await t.data())
  const { m, v } = optimizer.state()
  for (const [prefix, moments] of [
    ['m', m],
    ['v', v],
  ] as const) {
    for (const [key, t] of moments) found.moments.set(`${prefix}.${key}`, await t.data())
  }
  found.steps = await optimizer.steps()
  found.counter = device.random.counter
  optimizer.dispose()
  model.dispose()
  return found
}

async function spread(name: SchemeName, devices: number, inProcess: boolean, parts: number): Promise<Followed> {
  device.random.seed = 11
  const model = makeModel()
  const others = Array.from({ length: devices - 1 }, () => ({}))
  const optimizer = new AdamW(model.namedParameters(), adamW)
  const branches = await spreadBranches(model, { others, inProcess, optimizer })
  try {
    model.train()
    const scheme = makeScheme(name, BRANCHES)
    const found: Followed = {
      losses: [],
      norms: [],
      predicted: [],
      parameters: new Map(),
      moments: new Map(),
      steps: {},
      counter: 0,
    }
    const results = batches.flatMap((batch, step) => {
      const steps = scheme.passes.flat().map((objective) => ({ objective, lr: 1e-3 * (step + 1) }))
      return branches.updates(batch, steps, { parts, maxNorm: 0.5 })
    })
    for (const { losses, norm, predicted } of await Promise.all(results)) {
      found.losses.push(...losses)
      found.norms.push(norm)
      found.predicted.push(...Array.from(predicted))
    }
    const state = await branches.state()
    for (const [key, { data }] of state.parameters) found.parameters.set(key, data as Float32Array)
    for (const [key, { data }] of state.m) found.moments.set(`m.${key}`, data as Float32Array)
    for (const [key, { data }] of state.v) found.moments.set(`v.${key}`, data as Float32Array)
    return { ...found, steps: state.steps, counter: device.random.counter }
  } finally {
    await branches.close()
  }
}

const sorted = (record: object) => Object.fromEntries(Object.entries(record).sort())

function compare(actual: Followed, expected: Followed, what: string): void {
  assert.is(actual.counter, expected.counter, what)
  assertClose(actual.losses, expected.losses, 1e-5, `${what}: losses`)
  assertClose(actual.norms, expected.norms, 1e-5, `${what}: norms`)
  assert.equal(actual.predicted, expected.predicted, `${what}: predicted classes`)
  assert.equal(sorted(actual.steps), sorted(expected.steps), what)
  for (const part of ['parameters', 'moments'] as const) {
    assert.equal([...actual[part].keys()].sort(), [...expected[part].keys()].sort(), what)
    for (const [key, values] of expected[part]) assertClose(actual[part].get(key)!, values, 1e-5, `${what}: ${key}`)
  }
}

for (const name of SCHEME_NAMES) {
  test(`${name}: steps are those of one device, dropout on`, async () => {
    const expected = await serial(name, 1)
    compare(await spread(name, 2, true, 1), expected, '2 devices in this process')
    compare(await spread(name, 3, false, 1), expected, '3 devices, 2 in processes of their own')
  })
}
test('ends', () => device.destroy())
run()
