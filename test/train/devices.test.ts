import * as assert from 'uvu/assert'
import {
  DeviceLostError,
  type DeviceRequest,
  randn,
  requestDevice,
  scope,
  type Tensor,
  tensor,
  UserError,
} from '../../engine/index.ts'
import { createModel, type Mode, type Model, type ParaFormer } from '../../model/index.ts'
import type { BatchLoader } from '../../train/data/loader.ts'
import { distributeBranches } from '../../train/devices/distribute.ts'
import { evaluate } from '../../train/evaluate.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { gradients, imagesInMemory } from '../../train/predict.ts'
import { BRANCH_SCHEMES, makeScheme, optimizerStep, type SchemeName } from '../../train/schemes/index.ts'
import { assertClose, relativeError } from '../harness/errors.ts'
import { quick, suite } from '../harness/suite.ts'

const STEPS = 5
const BATCH = 6
/** Number of branches, which 2 or 3 devices cannot share evenly. */
const BRANCHES = 5
const PIXELS = 12 * 12
const adamW = { weightDecay: 0.1 }
const device = await requestDevice()
const { test, run } = suite('branches on several devices')

const SIZES = {
  imageSize: 12,
  patchSize: 4,
  channels: 1,
  dim: 24,
  heads: 2,
  dimHead: 12,
  mlpDim: 40,
  classes: 5,
  dropout: 0.2,
}

function makeModel(): ParaFormer {
  return createModel({ ...SIZES, architecture: 'paraformer', branches: BRANCHES, branchDepth: 1 }) as ParaFormer
}

/** Mini-batches that all runs share. */
const batches = await Promise.all(
  Array.from({ length: STEPS }, async (_, step) => {
    const images = randn([BATCH, 1, 12, 12])
    const data = (await images.data()) as Float32Array
    images.dispose()
    return { images: Float32Array.from(data), labels: Int32Array.from({ length: BATCH }, (_, i) => (i + step) % 5) }
  }),
)

interface Followed {
  /** The losses of all steps, and their norms. */
  losses: number[]
  norms: number[]
  predicted: number[]
  parameters: Map<string, ArrayLike<number>>
  moments: Map<string, ArrayLike<number>>
  steps: Record<string, number>
  counter: number
}

/** Takes the steps on one device, in mode serial. */
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

async function distributed(
  name: SchemeName,
  devices: number,
  inProcess: boolean,
  parts: number,
  mode?: Mode,
): Promise<Followed> {
  device.random.seed = 11
  const model = makeModel()
  const others = Array.from({ length: devices - 1 }, () => ({}))
  const optimizer = new AdamW(model.namedParameters(), adamW)
  const branches = await distributeBranches(model, { others, inProcess, optimizer, mode })
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
      return branches.updates(batch, steps, { microBatches: parts, maxNorm: 0.5 })
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

// greedy freezes branches, which needs all of them on one device.
for (const name of BRANCH_SCHEMES.filter((name) => name !== 'greedy')) {
  test(`${name}: steps are those of one device, dropout on`, async () => {
    const expected = await serial(name, 1)
    compare(await distributed(name, 2, true, 1), expected, '2 devices in this process')
    if (quick && name !== 'paper') return
    compare(await distributed(name, 3, false, 1, 'coalesced'), expected, '3 devices, 2 in processes of their own, coalesced')
  })
}
test('mini-batches in parts are accumulated alike', async () => {
  compare(await distributed('prefixSum', 2, true, 2), await serial('prefixSum', 2), '2 devices, 2 parts')
})

test('gradients of every prefix are those of one device', async () => {
  device.random.seed = 5
  const model = makeModel()
  const { images, labels } = batches[0]!
  const input = { ...imagesInMemory(images, BATCH), labels }
  const prefixes = [1, 2, BRANCHES]
  const expected = []
  for (const branches of prefixes) expected.push(await gradients(model, input, { branches }))
  const devices = await distributeBranches(model, { others: [{}, {}], inProcess: true })
  try {
    for (const [i, branches] of prefixes.entries()) {
      // Chunks are smaller than the batch, so gradients accumulate.
      const found = await devices.gradients({ images, labels }, branches, 4)
      assert.equal([...found.keys()].sort(), [...expected[i]!.keys()].sort())
      for (const [name, { data }] of expected[i]!) {
        assertClose(found.get(name)!.data as Float32Array, data as Float32Array, 1e-5, `prefix ${branches}: ${name}`)
      }
    }
  } finally {
    await devices.close()
  }
})

test('what was computed before the first step does not hold the parameters of then', async () => {
  const model = makeModel()
  const whole = makeModel()
  whole.loadStateDict(model.stateDict())
  const devices = await distributeBranches(model, { others: [{}], inProcess: true, mode: 'coalesced' })
  const pass = { branches: BRANCHES, eachBranch: false }
  const head = (images: Tensor, outputs: Tensor) => [model.forward(images, { outputs }).data()]
  const logits = async () => (await devices.infer(batches[0]!.images, BATCH, pass, head))[0]!
  const expected = async () => scope(() => whole.forward(tensor(batches[0]!.images, { shape: [BATCH, 1, 12, 12] }))).data()
  try {
    assert.throws(
      () => model.forward(tensor(batches[0]!.images, { shape: [BATCH, 1, 12, 12] })),
      /branches 2, 4 live on other devices/,
    )
    assertClose(await logits(), await expected(), 1e-5, 'before')
    const [objective] = makeScheme('joint', BRANCHES).passes[0]!
    await Promise.all(devices.updates(batches[0]!, [{ objective: objective!, lr: 1e-2 }]))
    const before = await expected()
    whole.loadStateDict((await devices.state()).parameters)
    const after = await expected()
    assert.ok(relativeError(after, before) > 0.01)
    assertClose(await logits(), after, 1e-5, 'after')
  } finally {
    await devices.close()
    whole.dispose()
  }
})

test('what crosses are rows of branches with their gradients, and the stem', async () => {
  const model = makeModel()
  const devices = await distributeBranches(model, { others: [{}], inProcess: true })
  try {
    const [objective] = makeScheme('prefixSum', BRANCHES).passes[0]!
    await Promise.all(devices.updates(batches[0]!, [{ objective: objective!, lr: 1e-3 }]))
    const { images, rows, cotangents, stemGradients, stem, between } = devices.traffic
    // Branches 2 and 4 of 5 are on device 1.
    const branches = 2 * BATCH * 24 * 4
    const parameters = (24 * 16 + 24 + 24 + 10 * 24) * 4
    assert.equal([images, rows, cotangents], [BATCH * PIXELS * 4, branches, branches])
    // Slots of an arena are padded.
    assert.ok(
      stem >= parameters && stem <= parameters + 4 * 512 && stemGradients === stem,
      `${stem} and ${stemGradients} bytes`,
    )
    assert.is(between, 2 * branches + 2 * stem)
  } finally {
    await devices.close()
  }
})

test('what cannot be spread is refused, and the model stays whole', async () => {
  const model = makeModel()
  const names = Object.keys(model.stateDict())
  const refused = async (others: DeviceRequest[], message: RegExp, inProcess = true, target: Model = model) => {
    const error = await distributeBranches(target, { others, inProcess }).catch((reason: unknown) => reason)
    assert.instance(error, UserError)
    assert.match((error as Error).message, message)
  }
  await refused(Array(BRANCHES).fill({}), /5 branches cannot be spread over 6 devices/)
  for (const inProcess of [true, false]) await refused([{}, { adapter: 'no-such' }], /no adapter is "no-such"/, inProcess)
  assert.equal(Object.keys(model.stateDict()), names)
  const vit = createModel({ ...SIZES, architecture: 'vit', depth: 2 })
  await refused([{}], /a vit has no branches to spread/, true, vit)
  const images = tensor(batches[0]!.images, { shape: [BATCH, 1, 12, 12] })
  assert.throws(
    () => model.forward(images, { mode: 'devices' as Mode }),
    /use --mode devices on the command line, or BranchDevices/,
  )
  for (const t of [model, vit, images]) t.dispose()
})

test('a lost device ends what waits for it, and all that comes later', async () => {
  const model = makeModel()
  const devices = await distributeBranches(model, { others: [{}], inProcess: false })
  const [objective] = makeScheme('joint', BRANCHES).passes[0]!
  const steps = [{ objective: objective!, lr: 1e-3 }]
  await Promise.all(devices.updates(batches[0]!, steps))
  const waiting = devices.updates(batches[1]!, steps)
  const pid = Number(/process (\d+)/.exec(devices.workers[0]!.name)![1])
  process.kill(pid, 'SIGKILL')
  const failed = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    assert.instance(error, DeviceLostError)
    assert.match((error as Error).message, /device 1 \(process \d+\) was ended by SIGKILL/)
  }
  for (const work of waiting) await failed(work)
  for (const work of devices.updates(batches[2]!, steps)) await failed(work)
  await failed(devices.state())
  await devices.close()
})

test('a device lost while batches are evaluated is one error, however many wait', async () => {
  const model = makeModel()
  const devices = await distributeBranches(model, { others: [{}], inProcess: false })
  const pid = Number(/process (\d+)/.exec(devices.workers[0]!.name)![1])
  const loader = {
    seek() {},
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < 40; i++) yield batches[i % STEPS]!
    },
  }
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  let done = 0
  const evaluated = evaluate(
    model,
    loader as unknown as BatchLoader,
    () => ++done === 3 && process.kill(pid, 'SIGKILL'),
    devices,
  )
  const error = await evaluated.catch((reason: unknown) => reason)
  assert.instance(error, DeviceLostError)
  await new Promise((resolve) => setTimeout(resolve, 50))
  process.off('unhandledRejection', note)
  assert.equal(unhandled, [])
  assert.ok(done >= 3 && done < 40, `${done} batches`)
  await devices.close()
})

test('a process that hangs is ended, one that was stopped for a moment is not', async () => {
  const model = makeModel()
  const devices = await distributeBranches(model, { others: [{}], inProcess: false, pulse: { every: 200, missed: 15 } })
  const [objective] = makeScheme('joint', BRANCHES).passes[0]!
  const steps = [{ objective: objective!, lr: 1e-3 }]
  const pid = Number(/process (\d+)/.exec(devices.workers[0]!.name)![1])
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  process.kill(pid, 'SIGSTOP')
  const first = devices.updates(batches[0]!, steps)
  await pause(400)
  process.kill(pid, 'SIGCONT')
  await Promise.all(first)
  process.kill(pid, 'SIGSTOP')
  const start = performance.now()
  const reasons = await Promise.all(devices.updates(batches[1]!, steps).map((work) => work.catch((reason: unknown) => reason)))
  const [error] = reasons
  assert.instance(error, DeviceLostError)
  assert.match((error as Error).message, /device 1 \(process \d+\) does not answer any more; its branches are gone/)
  const waited = performance.now() - start
  assert.ok(waited >= 2800 && waited < 9000, `told after ${waited} ms`)
  await devices.close()
  assert.throws(() => process.kill(pid, 0), /ESRCH/)
})

test('ends', () => device.destroy())
run()
