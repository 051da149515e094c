// Data parallelism: each device computes a slice of the mini-batch, and the step is that of one device.
import * as assert from 'uvu/assert'
import { DeviceLostError, randn, requestDevice, scope, tensor, UserError } from '../../engine/index.ts'
import { createModel } from '../../model/index.ts'
import type { ReplicaDevices } from '../../train/devices/replicaDevices.ts'
import { replicate } from '../../train/devices/replicate.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { Ema } from '../../train/optim/ema.ts'
import { makeScheme, optimizerStep, type SchemeName } from '../../train/schemes/index.ts'
import { assertClose } from '../harness/errors.ts'
import { quick, suite } from '../harness/suite.ts'

const STEPS = 4
/** Images of a mini-batch, which 2 or 3 devices cannot share evenly. */
const BATCH = 11
const PIXELS = 12 * 12
const device = await requestDevice()
const { test, slow, run } = suite('data parallelism')

const SIZES = {
  ...{ imageSize: 12, patchSize: 4, channels: 1, dim: 24, heads: 2, dimHead: 12, mlpDim: 40, classes: 5 },
  depth: 2,
} as const

const batches = await Promise.all(
  Array.from({ length: STEPS }, async (_, step) => {
    const images = randn([BATCH, 1, 12, 12])
    const data = (await images.data()) as Float32Array
    images.dispose()
    return { images: Float32Array.from(data), labels: Int32Array.from({ length: BATCH }, (_, i) => (i + step) % 5) }
  }),
)

interface Followed {
  losses: number[]
  norms: number[]
  predicted: number[]
  parameters: Map<string, Float32Array>
  averages: Map<string, Float32Array>
  counter: number
}

interface How {
  scheme?: SchemeName
  dropout?: number
  /** Micro-batches of one device, or of each replica. */
  parts?: number
}

async function begin({ dropout = 0 }: How) {
  device.random.seed = 11
  const model = createModel({ ...SIZES, architecture: 'vit', dropout })
  model.train()
  const optimizer = new AdamW(model.namedParameters(), { weightDecay: 0.1 })
  return { model, optimizer, ema: new Ema(model.namedParameters(), { decay: 0.5 }) }
}

async function finish(
  found: Pick<Followed, 'losses' | 'norms' | 'predicted'>,
  { model, optimizer, ema }: Awaited<ReturnType<typeof begin>>,
): Promise<Followed> {
  const read = async (entries: Iterable<readonly [string, { data(): Promise<unknown> }]>) =>
    new Map(await Promise.all([...entries].map(async ([name, t]) => [name, (await t.data()) as Float32Array] as const)))
  const parameters = await read(model.namedParameters())
  const averages = await read(Object.entries(ema.stateDict()))
  const { counter } = device.random
  for (const one of [optimizer, ema, model]) one.dispose()
  return { ...found, parameters, averages, counter }
}

async function alone(how: How): Promise<Followed> {
  const { scheme = 'joint', parts = 1 } = how
  const all = await begin(how)
  const [objective] = makeScheme(scheme, 1).passes[0]!
  const [losses, norms, predicted]: number[][] = [[], [], []]
  for (const [step, { images, labels }] of batches.entries()) {
    const size = Math.ceil(BATCH / parts)
    const result = scope(() => {
      const micro = Array.from({ length: Math.ceil(BATCH / size) }, (_, i) => {
        const [from, to] = [i * size, Math.min(BATCH, (i + 1) * size)]
        return {
          images: tensor(images.subarray(from * PIXELS, to * PIXELS), { shape: [to - from, 1, 12, 12] }),
          labels: tensor(labels.subarray(from, to)),
          share: (to - from) / BATCH,
        }
      })
      return optimizerStep(all.model, all.optimizer, objective!, micro, 1e-3 * (step + 1), 0.5, all.ema)
    })
    losses!.push(...(await result.losses.data()))
    norms!.push(await result.norm.item())
    predicted!.push(...(await result.predicted.data()))
    for (const t of [result.losses, result.norm, result.predicted]) t.dispose()
  }
  return finish({ losses: losses!, norms: norms!, predicted: predicted! }, all)
}

async function onSeveral(devices: number, inProcess: boolean, how: How): Promise<Followed> {
  const { scheme = 'joint', parts = 1 } = how
  const all = await begin(how)
  const { model, optimizer, ema } = all
  const others = Array.from({ length: devices - 1 }, () => ({}))
  const replicas = await replicate(model, { others, inProcess, optimizer, ema, scheme })
  const [losses, norms, predicted]: number[][] = [[], [], []]
  try {
    const [objective] = makeScheme(scheme, 1).passes[0]!
    const results = batches.flatMap((batch, step) =>
      replicas.updates(batch, [{ objective: objective!, lr: 1e-3 * (step + 1) }], { microBatches: parts, maxNorm: 0.5 }),
    )
    for (const values of await Promise.all(results)) {
      losses!.push(...values.losses)
      norms!.push(values.norm)
      predicted!.push(...Array.from(values.predicted))
    }
  } finally {
    await replicas.close()
  }
  return finish({ losses: losses!, norms: norms!, predicted: predicted! }, all)
}

/** Fails unless two runs agree to the rounding of float32: 1e-5 of the largest value of each tensor after all steps. */
function compare(actual: Followed, expected: Followed, what: string): void {
  assertClose(actual.losses, expected.losses, 1e-5, `${what}: losses`)
  assertClose(actual.norms, expected.norms, 1e-5, `${what}: norms`)
  assert.equal(actual.predicted, expected.predicted, `${what}: predicted classes`)
  for (const part of ['parameters', 'averages'] as const) {
    assert.equal([...actual[part].keys()], [...expected[part].keys()], what)
    for (const [name, values] of expected[part]) assertClose(actual[part].get(name)!, values, 1e-5, `${what}: ${name}`)
  }
}

for (const scheme of ['joint', 'everyLayer'] as const) {
  test(`${scheme}: steps of 2 and 3 devices are those of one with the whole mini-batch`, async () => {
    const expected = await alone({ scheme })
    compare(await onSeveral(2, true, { scheme }), expected, '2 devices')
    if (quick && scheme !== 'joint') return
    compare(await onSeveral(3, true, { scheme }), expected, '3 devices')
  })
}

slow('dropout draws the bits of one device that accumulates as many micro-batches', async () => {
  const expected = await alone({ dropout: 0.3, parts: 3 })
  const found = await onSeveral(3, true, { dropout: 0.3 })
  compare(found, expected, '3 devices')
  assert.is(found.counter, expected.counter)
  compare(
    await onSeveral(2, true, { dropout: 0.3, parts: 2 }),
    await alone({ dropout: 0.3, parts: 4 }),
    '2 devices, 2 parts each',
  )
})

test('bits depend on the number of devices alone: in processes of their own they are those of one process', async () => {
  const [first, second] = [await onSeveral(3, true, { dropout: 0.3 }), await onSeveral(3, false, { dropout: 0.3 })]
  assert.equal(second, first)
})

test('more devices than images leave some without a slice', async () => {
  const all = await begin({})
  const replicas = await replicate(all.model, { ...all, others: [{}, {}, {}], inProcess: true, scheme: 'joint' })
  const [objective] = makeScheme('joint', 1).passes[0]!
  const batch = { images: batches[0]!.images.subarray(0, 2 * PIXELS), labels: batches[0]!.labels.subarray(0, 2) }
  for (let step = 0; step < 2; step++) {
    const { losses, predicted } = await replicas.updates(batch, [{ objective: objective!, lr: 1e-3 }])[0]!
    assert.ok(Number.isFinite(losses[0]!))
    assert.is(predicted.length, 2)
  }
  await replicas.close()
  await finish({ losses: [], norms: [], predicted: [] }, all)
})

test('a gradient that is not finite changes nothing and names the device', async () => {
  const all = await begin({})
  const before = (await all.model.parameters()[0]!.data()) as Float32Array
  const replicas: ReplicaDevices = await replicate(all.model, { ...all, others: [{}], inProcess: true, scheme: 'joint' })
  const [objective] = makeScheme('joint', 1).passes[0]!
  const { labels } = batches[0]!
  const images = batches[0]!.images.slice()
  images[images.length - 1] = Number.NaN
  const { nonFinite, norm } = await replicas.updates({ images, labels }, [{ objective: objective!, lr: 1e-3 }])[0]!
  assert.match(nonFinite!, /^the gradient of device 1 /)
  assert.not(Number.isFinite(norm))
  assert.equal(Array.from(await all.model.parameters()[0]!.data()), Array.from(before))
  await replicas.close()
  await finish({ losses: [], norms: [], predicted: [] }, all)
})

test('a device that is lost rejects all calls; a scheme of ones own is refused', async () => {
  const all = await begin({})
  const replicas = await replicate(all.model, { ...all, others: [{}], scheme: 'joint' })
  const [objective] = makeScheme('joint', 1).passes[0]!
  process.kill(Number(/process (\d+)/.exec(replicas.workers[0]!.name)![1]), 'SIGKILL')
  const failed = await Promise.allSettled(
    batches.flatMap((batch) => replicas.updates(batch, [{ objective: objective!, lr: 1e-3 }])),
  )
  for (const one of failed) assert.instance((one as PromiseRejectedResult).reason, DeviceLostError)
  await replicas.close()
  const refusal = await replicate(all.model, { ...all, others: [{}], scheme: 'mine' }).catch((error: unknown) => error)
  assert.instance(refusal, UserError)
  await finish({ losses: [], norms: [], predicted: [] }, all)
})

run()
