import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { ArgumentError, noGrad, requestDevice, type Tensor, UserError } from '../../engine/index.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { countFlops, countParameters, createModel, type ParaFormer, type ParaFormerConfig } from '../../model/index.ts'
import { loadSafetensors } from '../../train/checkpoint/files.ts'
import { BatchLoader } from '../../train/data/loader.ts'
import type { Split } from '../../train/data/split.ts'
import { evaluate } from '../../train/evaluate.ts'
import { compress, cutModel } from '../../train/index.ts'
import { imageTensor } from '../../train/modelInput.ts'
import { modelOf, readCheckpoint } from '../../train/run/checkpoint.ts'
import { smallestWithin } from '../../train/study/compress/compress.ts'
import { cutChosen, saveCut } from '../../train/study/compress/cut.ts'
import { exitCurve, exitFlops } from '../../train/study/compress/exits.ts'
import { suite } from '../harness/suite.ts'
import { rejects } from '../train/userError.ts'

const M = 4
const CONFIG: ParaFormerConfig = {
  architecture: 'paraformer',
  ...{ imageSize: 8, patchSize: 4, channels: 1, dim: 16, heads: 2, dimHead: 8, mlpDim: 24, classes: 5, dropout: 0 },
  ...{ branches: M, branchDepth: 1, residual: 'paper', pool: 'mean' },
}
const SHAPE = { channels: 1, height: 8, width: 8, mean: [0.5], std: [0.25] }
const device = await requestDevice()
const work = mkdtempSync(join(tmpdir(), 'paraformer-compress-'))
const { test, run } = suite('compress')

/** A model whose classes depend much on the image: patches weigh more than positions, and logits lie far apart. */
async function paraformer(): Promise<ParaFormer> {
  device.random.seed = 3
  const model = createModel(CONFIG) as ParaFormer
  for (const [parameter, factor] of [
    [model.embed.weight, 10],
    [model.posEmbedding, 0.1],
    [model.head.linear.weight, 8],
    [model.head.linear.bias!, 0],
  ] as const) {
    parameter.write(Float32Array.from(await parameter.data(), (value) => factor * value))
  }
  return model
}

/** Noise for images, with labels that are all 0. */
function noise(count: number, seed: number): Split {
  const random = new CounterRandom(seed, [0, 0, 9])
  return { images: Uint8Array.from({ length: count * 64 }, () => random.below(256)), labels: new Uint8Array(count), count }
}

// Batches of 16 leave a smaller one at the end.
const loaderOf = (split: Split) => new BatchLoader(SHAPE, split, { batchSize: 16, shuffle: false })

/** All images of a split on the device, [N, 1, 8, 8]. */
async function imagesOf(model: ParaFormer, split: Split): Promise<Tensor> {
  const { images } = await new BatchLoader(SHAPE, split, { batchSize: split.count, shuffle: false }).next()
  return imageTensor(model, images, split.count)
}

/** The classes of logits [N, 5] with the largest value, found on the host. */
async function classesOf(logits: Tensor): Promise<number[]> {
  const values = await logits.data()
  return Array.from({ length: values.length / 5 }, (_, i) => {
    const row = Array.from(values.slice(5 * i, 5 * i + 5))
    return row.indexOf(Math.max(...row))
  })
}

const shareOf = (found: readonly number[], labels: ArrayLike<number>) =>
  found.filter((label, i) => label === labels[i]).length / labels.length

/** Images with the labels that `logitsOf` gives them, but for every `wrong`-th one. */
async function labelled(model: ParaFormer, split: Split, wrong: number, logitsOf: (images: Tensor) => Tensor): Promise<Split> {
  const images = await imagesOf(model, split)
  const found = await classesOf(noGrad(() => logitsOf(images)))
  return { ...split, labels: Uint8Array.from(found, (label, i) => (i % wrong === 0 ? (label + 1) % 5 : label)) }
}

/** A model, and images that it mostly classifies right. */
async function example() {
  const model = await paraformer()
  const whole = (images: Tensor) => model.forward(images)
  const validation = await labelled(model, noise(60, 1), 10, whole)
  const test = await labelled(model, noise(50, 2), 7, whole)
  return { model, validation, test, loaders: { validation: loaderOf(validation), test: loaderOf(test) } }
}

const FAST = { batches: [1] }

test('the accuracies of prefixes are those of eval, and of each prefix run alone; sizes are those of the counts', async () => {
  const { model, validation, test, loaders } = await example()
  const { prefixes, order, images, chosen } = await compress(model, { ...loaders, batches: [1, 3] })
  assert.equal([images, order], [{ validation: 60, test: 50 }, [0, 1, 2, 3]])
  const evaluated = [await evaluate(model, loaders.validation), await evaluate(model, loaders.test)]
  for (const [i, found] of prefixes.entries()) {
    const branches = i + 1
    for (const [kind, split] of Object.entries({ validation, test })) {
      const classes = await classesOf(model.forward(await imagesOf(model, split), { branches }))
      assert.is(found[kind as 'test'], shareOf(classes, split.labels), `${kind}, prefix ${branches}`)
    }
    assert.equal(
      [found.validation, found.test],
      evaluated.map(({ accuracies }) => accuracies[i]),
    )
    assert.is(found.parameters, countParameters(CONFIG, { branches }).total)
    assert.is(found.flops, countFlops(CONFIG, { branches }).forward)
    assert.equal(found.bytes, { float32: 4 * found.parameters, float16: 2 * found.parameters })
    assert.equal(Object.keys(found.latencyMs), ['1', '3'])
    assert.ok(Object.values(found.latencyMs).every((ms) => ms > 0))
  }
  // The labels are those of the whole model, but for every 10th and every 7th.
  assert.equal([prefixes.at(-1)!.validation, prefixes.at(-1)!.test], [0.9, 42 / 50])
  assert.ok(new Set(prefixes.map((prefix) => prefix.validation)).size > 1, 'prefixes differ')
  assert.is(
    chosen,
    smallestWithin(
      prefixes.map((prefix) => prefix.validation),
      0.5,
    ),
  )
})

test('the smallest prefix within a tolerance, which may lie before a worse one', () => {
  const accuracies = [0.85, 0.895, 0.88, 0.9]
  assert.equal(
    [0, 0.4, 0.5, 1, 4.9, 5].map((points) => smallestWithin(accuracies, points)),
    [4, 4, 2, 2, 2, 1],
  )
})

test('a planted good branch comes first, and every later one is the best that is left', async () => {
  const model = await paraformer()
  const alone = (i: number) => (images: Tensor) =>
    model.head.forward(
      model
        .outputs(images)
        .slice([[i, i + 1]])
        .sum(0),
    )
  const validation = await labelled(model, noise(60, 1), 30, alone(2))
  const test = await labelled(model, noise(50, 2), 30, alone(2))
  const loaders = { validation: loaderOf(validation), test: loaderOf(test) }
  const found = await compress(model, { ...loaders, ...FAST, reorder: true })
  assert.is(found.order[0], 2)
  assert.equal([...found.order].sort(), [0, 1, 2, 3])
  assert.is(found.prefixes[0]!.validation, 58 / 60)
  assert.ok(found.unordered!.validation[0]! < 58 / 60)
  assert.is(found.unordered!.validation.length, M)
  // Every other choice at every place is no better, by the sums themselves.
  const images = await imagesOf(model, validation)
  const accuracyOf = async (branches: readonly number[]) => {
    const outputs = model.outputs(images)
    const sum = branches.map((i) => outputs.slice([[i, i + 1]]).sum(0)).reduce((a, b) => a.add(b))
    return shareOf(await classesOf(noGrad(() => model.head.forward(sum))), validation.labels)
  }
  for (let k = 1; k <= M; k++) {
    const each = await Promise.all(
      Array.from({ length: M }, (_, i) => i)
        .filter((i) => !found.order.slice(0, k - 1).includes(i))
        .map((i) => accuracyOf([...found.order.slice(0, k - 1), i])),
    )
    assert.is(found.prefixes[k - 1]!.validation, Math.max(...each), `place ${k}`)
  }
  // The written model is the prefix of the order.
  const cut = await cutModel(model, found.order.slice(0, 2), 'float32')
  const written = modelOf({ path: '', data: undefined, ...cut })
  assert.is((await evaluate(written, loaders.test)).accuracies[1], found.prefixes[1]!.test)
  assert.is((await evaluate(written, loaders.test)).accuracies[0], found.prefixes[0]!.test)
})

test('exits at threshold 0 and 1 are prefix 1 and the whole model, and cost what they run', async () => {
  const { model, loaders } = await example()
  const { exits, prefixes } = await compress(model, { ...loaders, ...FAST })
  const [first, last] = [exits[0]!, exits.at(-1)!]
  assert.equal([first.threshold, first.accuracy, first.validation], [0, prefixes[0]!.test, prefixes[0]!.validation])
  assert.equal([first.flops, first.branches], [prefixes[0]!.flops, 1])
  assert.equal([last.threshold, last.accuracy, last.validation], [1, prefixes[M - 1]!.test, prefixes[M - 1]!.validation])
  assert.equal([last.flops, last.branches], [prefixes[M - 1]!.flops + (M - 1) * countFlops(CONFIG).head, M])
  const branches = exits.map((exit) => exit.branches)
  assert.equal(
    branches,
    [...branches].sort((a, b) => a - b),
    'a higher threshold runs no fewer branches',
  )
  assert.equal(exitFlops(CONFIG)[0], prefixes[0]!.flops)
})

test('each image leaves at its first confident prefix', () => {
  const scores = {
    images: 3,
    right: [Uint8Array.of(1, 0, 0), Uint8Array.of(0, 1, 0), Uint8Array.of(1, 1, 1)],
    confidence: [Float32Array.of(0.9, 0.5, 0.1), Float32Array.of(0.9, 0.75, 0.1), Float32Array.of(1, 1, 1)],
  }
  assert.equal(exitCurve(scores, [0, 0.5, 0.75, 1], [10, 20, 40]), [
    { threshold: 0, accuracy: 1 / 3, flops: 10, branches: 1 },
    { threshold: 0.5, accuracy: 1, flops: 70 / 3, branches: 2 },
    { threshold: 0.75, accuracy: 1, flops: 30, branches: 7 / 3 },
    { threshold: 1, accuracy: 1, flops: 40, branches: 3 },
  ])
})

test('the written checkpoint holds the parameters that were counted; float16 is judged by its rounded values', async () => {
  const { model, loaders } = await example()
  const found = await compress(model, { ...loaders, ...FAST, prefix: 2 })
  assert.is(found.chosen, 2)
  for (const dtype of ['float32', 'float16'] as const) {
    const { cut, written } = await cutChosen(model, found, dtype, loaders)
    const path = join(work, `${dtype}.safetensors`)
    await saveCut(path, cut, undefined)
    const { tensors } = await loadSafetensors(path)
    const sizes = [...tensors.values()].map(({ data }) => data.length)
    assert.is(
      sizes.reduce((a, b) => a + b),
      found.prefixes[1]!.parameters,
    )
    const bytes = [...tensors.values()].map(({ data }) => data.byteLength)
    assert.is(
      bytes.reduce((a, b) => a + b),
      found.prefixes[1]!.bytes[dtype],
    )
    assert.is(written.bytes, found.prefixes[1]!.bytes[dtype])
    // Two branches in float16 take less than half of the file of all of them.
    assert.ok(readFileSync(path).length > written.bytes)
    const read = await readCheckpoint(path)
    assert.is(read.config.architecture === 'paraformer' && read.config.branches, 2)
    const { accuracies } = await evaluate(modelOf(read), loaders.test)
    assert.is(accuracies[1], written.test)
    const exact = (await model.head.linear.weight.data()).every(
      (value, i) => value === read.parameters.get('head.linear.weight')!.data[i],
    )
    assert.is(exact, dtype === 'float32')
  }
  const weight = model.head.linear.weight
  weight.write(Float32Array.from(await weight.data(), (value, i) => (i === 3 ? 70000 : value)))
  await rejects(cutModel(model, [0], 'float16'), /head\.linear\.weight holds 70000, which is beyond.*float32/, UserError)
})

test('bad input', async () => {
  const { model, loaders, validation } = await example()
  const vit = createModel({
    architecture: 'vit',
    ...{ imageSize: 8, patchSize: 4, channels: 1, dim: 16, classes: 5, depth: 1 },
  })
  const of = (options: object, of: unknown = model) => compress(of as ParaFormer, { ...loaders, ...FAST, ...options })
  await rejects(of({}, vit), /a vit has no branches/, UserError)
  await rejects(of({ tolerance: -1 }), /tolerance of -1 points/, UserError)
  await rejects(of({ tolerance: Number.NaN }), /tolerance of NaN points/, UserError)
  await rejects(of({ thresholds: [0.5, 1.5] }), /threshold 1\.5/, UserError)
  await rejects(of({ prefix: 5 }), /this paraformer has 4/, UserError)
  await rejects(of({ batches: [0] }), /batches of 0 images/)
  await rejects(of({}, {}), /^compress: got an object as model/, ArgumentError)
  await rejects(of({ reorde: true }), /^compress: unknown option "reorde" \(did you mean "reorder"\?\)/, ArgumentError)
  await rejects(of({ test: {} }), /^compress: got an object as test, takes a loader/, ArgumentError)
  await rejects(of({ tolerance: '1' }), /^compress: got "1" as tolerance/, ArgumentError)
  await rejects(of({ thresholds: ['1'] }), /^compress: got "1" as a threshold/, ArgumentError)
  await rejects(of({ batches: [Symbol('B')] }), /^compress: got batches of a symbol images/, ArgumentError)
  await rejects(of({ mode: 'devices' }), /^compress: got "devices" as mode/, ArgumentError)
  await rejects(
    cutModel(model, [4], 'float32'),
    /^cutModel: got 4 as a branch, takes a whole number from 0 to 3/,
    ArgumentError,
  )
  await rejects(cutModel(model, [1, 1], 'float32'), /^cutModel: got branches 1, 1, takes each once/, ArgumentError)
  await rejects(cutModel(model, [1], 'int8' as 'float16'), /^cutModel: got "int8" as dtype/, ArgumentError)
  const others = {
    ...validation,
    labels: validation.labels.map((label, i) => (i % 5 === 1 ? label : (label + 1 + (i % 4)) % 5)),
  }
  await rejects(of({ validation: loaderOf(others) }), /no better than chance among 5 classes; train it first/, UserError)
  model.head.linear.bias!.write(new Float32Array(5).fill(Number.NaN))
  await rejects(of({}), /loss of prefix 1, 2, 3, 4 is not finite.*spoiled/, UserError)
})

test('ends', () => rmSync(work, { recursive: true }))

run()
