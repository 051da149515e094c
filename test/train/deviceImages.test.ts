import * as assert from 'uvu/assert'
import { requestDevice } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import { BatchLoader, type LoaderOptions } from '../../train/data/loader.ts'
import { type AugmentOptions, checkSettings, type Dataset, type Settings, startTrainer } from '../../train/index.ts'
import { DeviceImages, deviceSources, hostLine } from '../../train/run/deviceImages.ts'
import { loadersOf } from '../../train/run/loaders.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const device = await requestDevice()
const { test, run } = suite('images made on the device')

const COUNT = 23
const [channels, height, width] = [3, 11, 10]
const split = {
  images: Uint8Array.from({ length: COUNT * channels * height * width }, (_, i) => (i * i * 31 + 7 * (i >> 4)) >> 3),
  labels: Uint8Array.from({ length: COUNT }, (_, i) => i % 5),
  count: COUNT,
}
const shape = { channels, height, width, mean: [0.1, 0.5, 0.4], std: [0.3, 0.21, 0.27] }
const all: AugmentOptions = { cropPadding: 3, flip: true, randAugment: { n: 2, magnitude: 14 } }
const cases: Record<string, Partial<LoaderOptions>> = {
  'as they are': {},
  'crop and flip': { augment: { cropPadding: 2, flip: true } },
  RandAugment: { augment: all, seed: 2 ** 45 + 1 },
  'resized, RandAugment': { augment: all, imageSize: 17 },
}

for (const [name, options] of Object.entries(cases)) {
  for (const resident of [true, false]) {
    test(`${name}: the bits of the host, ${resident ? 'from the data set' : 'from bytes of each batch'} on the device`, async () => {
      const make = () => new BatchLoader(shape, split, { batchSize: 5, prefetch: 0, ...options })
      const [host, places] = [make(), make()]
      const source = DeviceImages.of(device, places, { resident })!
      assert.is(source.resident, resident)
      // The sixth batch is the first of the next epoch, after a smaller one.
      for (let step = 0; step < 6; step++) {
        const [batch, chosen] = [await host.next(), await source.next()]
        equal([chosen.epoch, chosen.step], [batch.epoch, batch.step], 'place')
        equal(chosen.labels, batch.labels, 'labels')
        const B = batch.labels.length
        const input = source.input(chosen, 1, B)
        const images = source.images(input)
        assert.equal(images.shape, [B - 1, channels, options.imageSize ?? height, options.imageSize ?? width])
        equal(await images.data(), batch.images.subarray(batch.images.length / B), `images of step ${step}`)
        for (const t of [input, images]) t.dispose()
      }
    })
  }
}

test('a source shares the bytes of another one of the same split', () => {
  const make = () => new BatchLoader(shape, split, { batchSize: 5 })
  const first = DeviceImages.of(device, make())!
  const before = device.memory.liveBytes
  const second = DeviceImages.of(device, make(), { beside: first })!
  assert.ok(second.resident)
  assert.ok(device.memory.liveBytes - before < split.images.length, 'a second copy')
})

test('the host makes images that the kernel does not take', () => {
  const many = { ...shape, channels: 9, height: 5, width: 4, mean: new Array(9).fill(0), std: new Array(9).fill(1) }
  const images = split.images.subarray(0, 9 * 20 * 4)
  const loader = (augment?: AugmentOptions) =>
    new BatchLoader(
      many,
      { images, labels: split.labels.subarray(0, 4), count: 4 },
      { batchSize: 2, ...(augment && { augment }) },
    )
  assert.is(DeviceImages.of(device, loader(all)), undefined)
  assert.ok(DeviceImages.of(device, loader({ flip: true })))
  const model = { device } as Model
  const data = { train: loader(all), evaluation: loader(all) }
  assert.throws(
    () => deviceSources(model, data, true),
    /^--data device: the device does not take batches of .*; use --data host/,
  )
  const sources = deviceSources(model, data)
  const settings = checkSettings({})
  assert.match(
    hostLine({ settings, sources, distributed: undefined, replicas: undefined })!,
    /^the host makes the batches: the device does not take/,
  )
  assert.is(
    hostLine({ settings: checkSettings({ data: 'host' }), sources, distributed: undefined, replicas: undefined }),
    undefined,
  )
  const onDevice = deviceSources(model, { train: loader({ flip: true }), evaluation: loader() }, true)
  assert.is(hostLine({ settings, sources: onDevice, distributed: undefined, replicas: undefined }), undefined)
  const partly = deviceSources(model, { train: loader({ flip: true }), evaluation: loader(all) }, true)
  const asked = checkSettings({ data: 'device' })
  assert.match(
    hostLine({ settings: asked, sources: partly, distributed: undefined, replicas: undefined })!,
    /^the host makes the batches of evaluation: the device does not take/,
  )
})

/** Trains three steps of two micro-batches each. @returns the final parameters, the losses and the evaluation */
async function train(data: Settings['data'], eager: boolean, mode: Settings['mode']) {
  const dataset: Dataset = { ...shape, name: 'images', classes: 5, train: split, test: split, height: 10, width: 10 } as Dataset
  const square = { images: split.images.subarray(0, 20 * 300), labels: split.labels.subarray(0, 20), count: 20 }
  const settings = checkSettings({
    ...{
      data,
      mode,
      patchSize: 5,
      dim: 8,
      heads: 1,
      dimHead: 8,
      mlpDim: 8,
      branches: 2,
      batchSize: 6,
      accumulate: 2,
      maxSteps: 3,
    },
    ...{ cropPadding: 2, flip: true, randAugment: [2, 9], seed: 3, scheme: 'paper' },
  })
  const parts = loadersOf({ ...dataset, train: square, test: square }, settings)
  const trainer = await startTrainer(device, settings, parts, { saveEvery: 100, eager })
  const losses: number[][] = []
  await trainer.run({ onStep: (report) => void losses.push(...report.losses) })
  await Promise.all([parts.train.close(), parts.evaluation.close()])
  const values: Float32Array[] = []
  for (const t of Object.values(trainer.parts.model.stateDict())) values.push((await t.data()) as Float32Array)
  return { losses, values, evaluation: trainer.history.at(-1)!.losses }
}

test('a run has the same bits with batches of host and device, in steps of every kind', async () => {
  const expected = await train('host', false, 'serial')
  for (const [eager, mode] of [
    [false, 'serial'],
    [true, 'serial'],
    [false, 'coalesced'],
    [false, 'streams'],
  ] as const) {
    const found = await train('device', eager, mode)
    if (mode !== 'coalesced') assert.equal(found, expected, `${mode} ${eager ? 'eager' : 'captured'}`)
    else
      assert.ok(
        found.losses.every((losses, i) => Math.abs(losses[0]! - expected.losses[i]![0]!) < 1e-4),
        mode,
      )
  }
})

run()
