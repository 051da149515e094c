import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { UserError } from '../../engine/base/errors.ts'
import type { BatchSpec } from '../../train/data/batch.ts'
import { BatchWorker } from '../../train/data/batchWorker.ts'
import { sharedBytes } from '../../train/data/files.ts'
import { type Batch, BatchLoader, type LoaderOptions, splitIndices } from '../../train/data/loader.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects, throws } from './userError.ts'

const [channels, height, width, count] = [3, 6, 5, 23]
const dataset = { channels, height, width, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] }
const pixels = height * width
const split = { images: sharedBytes(count * channels * pixels), labels: sharedBytes(count), count }
for (let i = 0; i < split.images.length; i++) split.images[i] = (i * 7919) % 251
for (let i = 0; i < count; i++) split.labels[i] = i
const augment = { cropPadding: 2, flip: true, randAugment: { n: 2, magnitude: 14 } }

const loader = (options: Partial<LoaderOptions> = {}) => new BatchLoader(dataset, split, { batchSize: 5, ...options })

async function take(from: BatchLoader, batches: number): Promise<Batch[]> {
  const out: Batch[] = []
  for (let i = 0; i < batches; i++) out.push(await from.next())
  return out
}

/** The samples of one epoch in their order; here labels are the numbers of samples. */
async function order(from: BatchLoader): Promise<number[]> {
  const out: number[] = []
  for await (const { labels } of from) out.push(...labels)
  return out
}

// In a process of its own, a loader that is never closed must neither end the process early nor keep it alive.
if (process.argv[2] === 'unclosed') {
  const batchLoader = loader({ augment, prefetch: 4 })
  const { labels } = await batchLoader.next()
  process.send?.({ labels: [...labels] })
} else {
  const { test, run } = suite('loader')
  const everyone = Array.from({ length: count }, (_, i) => i)
  const sorted = (items: number[]) => [...items].sort((a, b) => a - b)

  test('an epoch holds every sample once, each epoch in another order that the seed fixes', async () => {
    const batchLoader = loader({ seed: 7 })
    const [first, second] = [await order(batchLoader), await order(batchLoader)]
    equal(sorted(first), everyone, 'epoch 0')
    equal(sorted(second), everyone, 'epoch 1')
    if (first.join() === second.join()) throw new Error('both epochs have one order')
    equal(await order(loader({ seed: 7 })), first, 'the same seed')
    if ((await order(loader({ seed: 8 }))).join() === first.join()) throw new Error('another seed gave the same order')
    if ((await order(loader({ seed: 7 + 2 ** 32 }))).join() === first.join()) throw new Error('high seed bits are ignored')
    equal(await order(loader({ shuffle: false })), everyone, 'unshuffled')
  })

  test('the last batch is smaller, or left out', async () => {
    const whole = loader()
    equal(whole.stepsPerEpoch, 5, 'steps')
    const sizes = (batches: Batch[]) => batches.map(({ labels }) => labels.length)
    equal(sizes(await take(whole, 6)), [5, 5, 5, 5, 3, 5], 'sizes')
    const dropping = loader({ dropLast: true })
    equal(dropping.stepsPerEpoch, 4, 'steps without the last')
    const batches = await take(dropping, 5)
    equal(sizes(batches), [5, 5, 5, 5, 5], 'sizes without the last')
    equal(
      batches.map(({ epoch, step }) => [epoch, step]),
      [
        [0, 0],
        [0, 1],
        [0, 2],
        [0, 3],
        [1, 0],
      ],
      'places',
    )
    equal(loader({ batchSize: 23 }).stepsPerEpoch, 1, 'one batch of all')
    equal(loader({ batchSize: 100 }).stepsPerEpoch, 1, 'fewer than a batch')
  })

  test('images are normalised per channel and belong to their labels', async () => {
    const { images, labels } = await loader({ seed: 3 }).next()
    equal(images.length, 5 * channels * pixels, 'values')
    for (let b = 0; b < labels.length; b++) {
      for (let c = 0; c < channels; c++) {
        for (let i = 0; i < pixels; i++) {
          const byte = split.images[(labels[b]! * channels + c) * pixels + i]!
          const expected = Math.fround((byte / 255 - dataset.mean[c]!) / dataset.std[c]!)
          equal(images[(b * channels + c) * pixels + i], expected, `sample ${labels[b]}, channel ${c}, pixel ${i}`)
        }
      }
    }
    const override = await loader({ seed: 3, mean: [0, 0, 0], std: [1, 1, 1] }).next()
    equal(override.images[0], Math.fround(split.images[labels[0]! * channels * pixels]! / 255), 'own normalisation')
  })

  test('a worker thread gives the same bytes as making batches in place', async () => {
    if (!BatchWorker.isAvailable()) throw new Error('the worker entry is not beside this test')
    const options = { augment, imageSize: 9, seed: 11 }
    const expected = await take(loader({ ...options, prefetch: 0 }), 12)
    for (const prefetch of [1, 4, 9]) {
      const batchLoader = loader({ ...options, prefetch })
      equal((await batchLoader.next()).images.length, 5 * channels * 81, 'resized')
      batchLoader.seek({ epoch: 0, step: 0 })
      const batches = await take(batchLoader, 12)
      for (const [i, batch] of batches.entries()) {
        equal(batch.images, expected[i]!.images, `prefetch ${prefetch}, images of batch ${i}`)
        equal(batch.labels, expected[i]!.labels, `prefetch ${prefetch}, labels of batch ${i}`)
        equal([batch.epoch, batch.step], [expected[i]!.epoch, expected[i]!.step], `prefetch ${prefetch}, place of batch ${i}`)
      }
      await batchLoader.close()
    }
  })

  test('a saved state resumes exactly, from any step and over the end of an epoch', async () => {
    for (const prefetch of [0, 3]) {
      const options = { augment, seed: 5, prefetch }
      const expected = await take(loader({ ...options, prefetch: 0 }), 13)
      for (const stopped of [0, 1, 4, 5, 7]) {
        const before = loader(options)
        await take(before, stopped)
        const state = JSON.parse(JSON.stringify(before.state))
        const after = loader({ ...options, state })
        for (const [i, batch] of (await take(after, 6)).entries()) {
          equal(batch.images, expected[stopped + i]!.images, `prefetch ${prefetch}, stopped at ${stopped}, batch ${i}`)
          equal(batch.labels, expected[stopped + i]!.labels, `prefetch ${prefetch}, stopped at ${stopped}, labels ${i}`)
        }
        await before.close()
        await after.close()
      }
    }
  })

  test('seeking while batches are on their way drops them', async () => {
    const batchLoader = loader({ augment, prefetch: 4 })
    const expected = await take(loader({ augment, prefetch: 0 }), 5)
    for (const step of [3, 0, 4, 1, 1]) {
      batchLoader.seek({ epoch: 0, step })
      equal((await batchLoader.next()).images, expected[step]!.images, `step ${step}`)
    }
    // The batches are asked for at once, since their order counts.
    batchLoader.seek({ epoch: 0, step: 0 })
    const together = await Promise.all(expected.map(() => batchLoader.next()))
    for (const [i, { images }] of together.entries()) equal(images, expected[i]!.images, `asked together, ${i}`)
    await batchLoader.close()
  })

  test('iterating gives what is left of the epoch', async () => {
    const batchLoader = loader({ shuffle: false, state: { epoch: 2, step: 3 } })
    equal(await order(batchLoader), everyone.slice(15), 'the rest of epoch 2')
    equal(batchLoader.state, { epoch: 3, step: 0 }, 'state')
  })

  test('a validation split is disjoint, whole, and fixed by its seed', async () => {
    const { train, validation } = splitIndices(count, 0.1, 4)
    equal(validation.length, 2, 'validation')
    equal(sorted([...train, ...validation]), everyone, 'together')
    equal([...train], sorted([...train]), 'ascending')
    equal(splitIndices(count, 0.1, 4).validation, validation, 'repeated')
    const other = splitIndices(1000, 0.1, 4).validation.join()
    if (other === splitIndices(1000, 0.1, 5).validation.join()) throw new Error('another seed gave the same split')
    equal(splitIndices(count, 0, 4).train, everyone, 'no validation')
    const batchLoader = loader({ indices: train })
    equal(batchLoader.count, 21, 'samples')
    equal(sorted(await order(batchLoader)), [...train], 'samples of the subset')
  })

  test('a failing worker rejects next(), also later', async () => {
    const spec = { mean: [0], std: [1], batchSize: 1, shuffle: false, size: {}, labels: undefined, indices: [0] }
    const failing = new BatchWorker(spec as unknown as BatchSpec)
    for (let i = 0; i < 2; i++) await rejects(failing.make(0, 0), /subarray|undefined/, Error)
    await failing.close()
    await rejects(failing.make(0, 0), /closed/, Error)
    const broken = new BatchWorker({ mean: undefined } as unknown as BatchSpec)
    await rejects(broken.make(0, 0), /undefined/, Error)
    await rejects(broken.make(0, 1), /undefined/, Error)
    await broken.close()
  })

  test('closing rejects what is due, and next() starts anew', async () => {
    const batchLoader = loader({ augment, prefetch: 2 })
    const due = batchLoader.next()
    const checked = rejects(due, /closed/, Error)
    await batchLoader.close()
    await checked
    await batchLoader.close()
    equal((await batchLoader.next()).step, 1, 'the batch after the one lost')
    await batchLoader.close()
  })

  test('an unclosed loader neither ends the process early nor keeps it alive', async () => {
    const child = fork(fileURLToPath(import.meta.url), ['unclosed'])
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
    let labels: unknown
    child.on('message', (message: { labels?: number[] }) => {
      if (message.labels) labels = message.labels
    })
    const ended = await new Promise((resolve) => child.on('exit', (code, signal) => resolve([code, signal])))
    clearTimeout(timer)
    equal(ended, [0, null], 'code and signal')
    equal(labels, (await loader({ augment, prefetch: 0 }).next()).labels, 'its batch')
  })

  test('without the file of the worker, batches are made in place', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paraformer-loader-'))
    try {
      const outfile = join(folder, 'loader.mjs')
      await build({ entryPoints: ['train/data/loader.ts'], outfile, bundle: true, platform: 'node', format: 'esm' })
      const alone: { BatchLoader: typeof BatchLoader } = await import(pathToFileURL(outfile).href)
      const batchLoader = new alone.BatchLoader(dataset, split, { batchSize: 5, augment, prefetch: 3 })
      equal((await batchLoader.next()).images, (await loader({ augment, prefetch: 0 }).next()).images, 'images')
      await batchLoader.close()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('what cannot be is refused in one line', () => {
    const bad: [Partial<LoaderOptions>, RegExp][] = [
      [{ batchSize: 0 }, /batch size 0/],
      [{ batchSize: -3 }, /batch size -3/],
      [{ batchSize: Number.NaN }, /batch size NaN/],
      [{ batchSize: 2.5 }, /batch size 2.5/],
      [{ batchSize: 24, dropLast: true }, /leaves no batch of 23/],
      [{ imageSize: 0 }, /image size 0/],
      [{ imageSize: Number.NaN }, /image size NaN/],
      [{ seed: -1 }, /seed -1/],
      [{ seed: 0.5 }, /seed 0.5/],
      [{ prefetch: -1 }, /prefetch -1/],
      [{ indices: new Int32Array(0) }, /no image/],
      [{ indices: Int32Array.of(0, 23) }, /index 23/],
      [{ indices: Int32Array.of(-1) }, /index -1/],
      [{ mean: [0.5] }, /mean \[0.5\]/],
      [{ mean: [0.5, 0.5, Number.NaN] }, /mean/],
      [{ std: [1, 1, 0] }, /std/],
      [{ std: [1, 1, Number.NaN] }, /std/],
      [{ augment: { cropPadding: -1 } }, /crop padding -1/],
      [{ augment: { randAugment: { n: 1.5, magnitude: 1 } } }, /operations 1.5/],
      [{ augment: { randAugment: { n: 2, magnitude: 31 } } }, /magnitude 31/],
      [{ augment: { randAugment: { n: 2, magnitude: Number.NaN } } }, /magnitude NaN/],
      [{ state: { epoch: 0, step: 5 } }, /no batch 5 in epoch 0/],
      [{ state: { epoch: -1, step: 0 } }, /epoch -1/],
      [{ state: { epoch: 0, step: Number.NaN } }, /no batch NaN/],
    ]
    for (const [options, message] of bad) throws(() => loader(options), message, UserError)
    const short = { ...split, images: split.images.subarray(1) }
    throws(() => new BatchLoader(dataset, short, { batchSize: 1 }), /are not 23 images/, UserError)
  })

  run()
}
