import * as assert from 'uvu/assert'
import { openDevice } from '#platform'
import { Device, requestDevice, tensor, UserError } from '../../engine/index.ts'
import { type PartialConfig, ViT } from '../../model/index.ts'
import { AdamW, captureStep, makeScheme } from '../../train/index.ts'
import { gradientsOf } from '../../train/optim/gradients.ts'
import { Pipeline, parametersOf } from '../../train/pipeline/pipeline.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'
import { throws } from './userError.ts'

const device = await requestDevice()
const others = await Promise.all([1, 2].map(async () => new Device(await openDevice({}))))
const { test, run } = suite('pipeline of a ViT')

const B = 4
const CONFIG: PartialConfig<'vit'> = {
  imageSize: 12,
  patchSize: 4,
  channels: 2,
  dim: 24,
  heads: 2,
  dimHead: 12,
  mlpDim: 40,
  depth: 5,
  classes: 7,
  dropout: 0,
}
const images = Float32Array.from({ length: B * 2 * 12 * 12 }, (_, i) => Math.sin(i * i))
const labels = Int32Array.from({ length: B }, (_, i) => (3 * i) % 7)

/** A model and a batch on one device. */
function whole(config: PartialConfig<'vit'>) {
  device.random.seed = 5
  const model = new ViT(config)
  const x = tensor(images, { shape: [B, 2, 12, 12] })
  return { model, x, batch: { images: x, labels: tensor(labels), share: 1 } }
}

for (const [devices, microBatches] of [
  [1, 2],
  [2, 1],
  [2, 4],
  [3, 2],
] as const) {
  test(`${devices} devices, ${microBatches} micro-batches: logits, losses, gradients and steps are those of one device`, async () => {
    for (const config of [CONFIG, { ...CONFIG, pool: 'mean', residual: 'paper' } as const]) {
      const { model, x, batch } = whole(config)
      const all = [device, ...others].slice(0, devices)
      const state = await parametersOf(model)
      const infer = new Pipeline(model, state, all, { images, labels, microBatches, train: false })
      const train = new Pipeline(model, state, all, { images, labels, microBatches, train: true })
      const logits = model.forward(x)
      // The second turn replays everything.
      for (let i = 0; i < 2; i++) {
        const { results } = await infer.forward()
        const found = results.flatMap((part) => [...part])
        assertClose(found, await logits.data(), 1e-6, 'logits')
      }
      assert.is(infer.moved, 2 * (devices - 1) * B * 10 * 24 * 4)
      const optimizer = new AdamW(model.namedParameters())
      const step = captureStep(model, optimizer, makeScheme('joint', 1).passes[0]![0]!, Number.POSITIVE_INFINITY)
      for (const lr of [0, 1e-2, 5e-3, 1e-3]) {
        const expected = await step([batch], lr).losses.item()
        const { loss, host } = await train.step(lr)
        assertClose([loss], [expected], 1e-6, `loss before a step of ${lr}`)
        assert.ok(host > 0)
        const gradients = await train.gradients()
        const wanted = await gradientsOf(model.namedParameters())
        assert.equal([...gradients.keys()].sort(), [...wanted.keys()].sort())
        for (const [name, values] of wanted) assertClose(gradients.get(name)!, values, 1e-5, `gradient of ${name}`)
      }
      assert.is(train.moved, 4 * 2 * (devices - 1) * B * 10 * 24 * 4)
      infer.dispose()
      train.dispose()
      step.dispose()
    }
  })
}

test('what does not divide', async () => {
  const { model } = whole(CONFIG)
  const state = await parametersOf(model)
  const work = { images, labels, train: false }
  const six = Array(6).fill(device)
  throws(() => new Pipeline(model, state, six, { ...work, microBatches: 1 }), /5 layers cannot be spread over 6/, UserError)
  throws(
    () => new Pipeline(model, state, [device], { ...work, microBatches: 3 }),
    /4 images cannot be divided into 3 micro-batches/,
    UserError,
  )
})

test('ends', () => {
  for (const d of [device, ...others]) d.destroy()
})

run()
