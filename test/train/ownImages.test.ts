import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/base/errors.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { checkSettings } from '../../train/settings.ts'
import { withParametersOf } from '../../train/study/plan/alike.ts'
import { studyData } from '../../train/study/plan/data.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'
import { CLASSES, writeFolder } from './ownFolder.ts'
import { rejects, throws } from './userError.ts'

// A folder of one's own images on the command line: it trains, resumes, evaluates, compresses and predicts.
const { test, slow, run } = suite('own images')
const work = mkdtempSync(join(tmpdir(), 'paraformer-own-'))
const dir = join(work, 'flowers')
await writeFolder(dir)

const TINY = [
  ...['--dim', '8', '--heads', '1', '--dim-head', '8', '--mlp-dim', '8', '--patch-size', '7', '--branches', '2'],
  ...['--batch-size', '8', '--epochs', '1', '--warmup', '3', '--dropout', '0.2', '--seed', '7', '--mode', 'serial', '--flip'],
]
const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'))

async function paraformer(...args: string[]) {
  const result = await runHere(args)
  if (result.code !== 0) throw new Error(`${args.join(' ')}: ${result.code}: ${result.stderr}`)
  return result
}

const train = (name: string, ...args: string[]) =>
  paraformer('train', '--dataset', 'images', '--data-dir', dir, ...TINY, '--out', join(work, name), ...args)

test('a folder of 12 classes trains', async () => {
  const { stderr } = await train('whole')
  assert.match(stderr, /images, 12 classes, \[3, 14, 14\]: 60 training images, 12 of test/)
  const { dataset, model } = json(work, 'whole', 'settings.json')
  assert.equal([dataset.name, dataset.trainImages, dataset.testImages], ['images', 60, 12])
  assert.equal(Object.keys(dataset.sha256), [...CLASSES])
  assert.equal([model.classes, model.channels, model.imageSize], [12, 3, 14])
  const { metadata } = decodeSafetensors(readFileSync(join(work, 'whole', 'model.safetensors')), 'model')
  const { mean, classNames, own } = JSON.parse(metadata.data!)
  assert.equal([mean.length, classNames, own], [3, [...CLASSES], { seed: 7, testShare: 0.2 }])
})

/** Fails unless two runs have the same bits in all tensors, at the same position. */
function assertSame(...names: [string, string]): void {
  const [a, b] = names.map((name) => decodeSafetensors(readFileSync(join(work, name, 'checkpoint.safetensors')), name))
  const contentOf = ({ tensors, metadata }: NonNullable<typeof a>) => {
    const { position, random, steps } = JSON.parse(metadata.training!)
    const bits = [...tensors].map(([name, { data }]) => [name, Buffer.from(data.buffer, data.byteOffset, data.byteLength)])
    return { bits, data: metadata.data, training: { position, random, steps } }
  }
  assert.equal(contentOf(a!), contentOf(b!))
}

test('a run that was ended and resumed ends with the same bits, and the normalisation that its checkpoint keeps', async () => {
  // The cosine schedule of a run that was to end earlier is another one.
  await train('straight', '--schedule', 'constant')
  await train('broken', '--schedule', 'constant', '--max-steps', '3')
  await paraformer('train', '--resume', join(work, 'broken'), '--max-steps', '7')
  assertSame('straight', 'broken')
  assert.is(json(work, 'broken', 'run.json').optimizerSteps, 7)
})

const model = join(work, 'straight', 'model.safetensors')

test('eval takes the images that were for tests, and finds what the run found', async () => {
  const { stdout } = await paraformer('eval', '--checkpoint', model, '--data-dir', dir, '--json')
  const { dataset, images, prefixes } = JSON.parse(stdout)
  const { final } = json(work, 'straight', 'run.json')
  assert.equal([dataset, images], ['images', 12])
  assert.equal(
    prefixes.map(({ accuracy }: { accuracy: number }) => accuracy),
    final.test.accuracy,
  )
})

test('predict takes folders, and sees images as training did', async () => {
  const { stdout } = await paraformer('predict', '--checkpoint', model, '--json', '--top', '12', join(dir, 'bee'), dir)
  const found = JSON.parse(stdout) as { file: string; classes: { class: number; name: string; probability: number }[] }[]
  assert.is(found.length, 78)
  assert.equal(
    found.slice(0, 6).map(({ file }) => file),
    [0, 1, 2, 3, 4, 5].map((i) => join(dir, 'bee', `${i}.${i % 2 ? 'JPG' : 'png'}`)),
  )
  assert.equal(found[0]!.classes.map(({ name }) => name).sort(), [...CLASSES].sort())
  // The accuracy over all images is that of eval on both splits.
  const right = found.slice(6).filter(({ file, classes }) => file.split('/').at(-2) === classes[0]!.name).length
  let expected = 0
  for (const split of ['train', 'test']) {
    const { stdout: scores } = await paraformer('eval', '--checkpoint', model, '--data-dir', dir, '--json', '--split', split)
    const { images, prefixes } = JSON.parse(scores)
    expected += Math.round(images * prefixes.at(-1).accuracy)
  }
  assert.is(right, expected)
})

test('a run is not resumed on other data: one line says what changed', async () => {
  const resume = ['train', '--resume', join(work, 'broken'), '--max-steps', '8']
  const refused = async (change: (copy: string) => void, message: RegExp) => {
    const copy = mkdtempSync(join(work, 'changed-'))
    cpSync(dir, copy, { recursive: true })
    change(copy)
    await expectUserError([...resume, '--data-dir', copy], message)
  }
  await refused(
    (copy) => cpSync(join(copy, 'bee'), join(copy, 'wolf'), { recursive: true }),
    /has a class wolf, which it had not when the run began; use the data/,
  )
  await refused(
    (copy) => rmSync(join(copy, 'bee'), { recursive: true }),
    /lacks the class bee, which it had when the run began; use/,
  )
  await refused(
    (copy) => cpSync(join(copy, 'bee', '0.png'), join(copy, 'bee', '9.png')),
    /the run began with 60 train images, and there are 61 now; use/,
  )
  await refused(
    (copy) => cpSync(join(copy, 'bee', '0.png'), join(copy, 'bee', '2.png')),
    /the run began with other images of the class bee; use the data/,
  )
  await refused((copy) => writeFileSync(join(copy, 'bee', '0.png'), 'x'), /bee\/0\.png: neither PNG.*--skip-broken/)
})

test('flags and files that do not fit end with one line', async () => {
  const own = ['train', '--dataset', 'images']
  await expectUserError(own, /the data set images is your own; name its folder with --data-dir/)
  await expectUserError([...own, '--data-dir', join(work, 'none')], /none: no such folder; check the path/)
  await expectUserError(['train', '--test-share', '0.3'], /--test-share has no effect on --dataset mnist; use it with images/)
  await expectUserError(
    [...own, '--record-shape', '3,4,4'],
    /--record-shape has no effect on --dataset images; use it with cifar-like/,
  )
  await expectUserError([...own, '--channels', '2'], /--channels 2 is neither 1 \(gray\) nor 3/)
  await expectUserError([...own, '--data-dir', dir, '--image-size', '10'], /patchSize 4 does not divide imageSize 10/)
  await expectUserError(['eval', '--checkpoint', model], /the data set images is your own; name its folder/)
  await expectUserError(
    ['eval', '--checkpoint', model, '--dataset', 'mnist'],
    /takes 3 channels and 12 classes, mnist has 1 and 10/,
  )
  const few = join(work, 'few')
  await writeFolder(few, { classes: CLASSES.slice(1) })
  await expectUserError(
    ['eval', '--checkpoint', model, '--data-dir', few],
    /few: lacks the class apple, which the model knows; use/,
  )
  const settings = { dataset: 'images', dataDir: dir } as const
  throws(() => withParametersOf(settings, {}), /sizes of --dataset images are known when it is loaded; use/, UserError)
  await rejects(studyData(checkSettings(settings)), /a study of images counts its work .*; state imageSize/, UserError)
  const { classes, height } = await studyData(checkSettings({ ...settings, imageSize: 16 }))
  assert.equal([classes, height], [12, 16])
})

test('a folder with broken files trains without them, and a folder of gray images in splits has one channel', async () => {
  const gray = join(work, 'gray')
  await writeFolder(join(gray, 'train'), { gray: true, classes: CLASSES.slice(0, 4) })
  await writeFolder(join(gray, 'test'), { gray: true, classes: CLASSES.slice(0, 3) })
  await writeFolder(join(gray, 'val'), { gray: true, classes: CLASSES.slice(0, 2) })
  writeFileSync(join(gray, 'train', 'bee', '1.JPG'), readFileSync(join(gray, 'train', 'bee', '1.JPG')).subarray(0, 200))
  const flags = [
    'train',
    '--dataset',
    'images',
    '--data-dir',
    gray,
    ...TINY,
    '--max-steps',
    '2',
    '--out',
    join(work, 'gray-run'),
  ]
  await expectUserError(flags, /train\/bee\/1\.JPG: corrupt, truncated or too large JPEG .* --skip-broken$/)
  const { stderr } = await paraformer(...flags, '--skip-broken')
  assert.match(stderr, /left out 1 of 54 files: .*1\.JPG: corrupt/)
  assert.match(stderr, /images, 4 classes, \[1, 14, 14\]: 23 training images, 12 of validation/)
  await expectUserError(
    [...flags, '--skip-broken', '--validation', '0.2'],
    /--validation 0\.2: the data set has a folder of validation/,
  )
  const evaluation = ['eval', '--checkpoint', join(work, 'gray-run', 'model.safetensors'), '--split', 'validation', '--json']
  const { stdout } = await paraformer(...evaluation, '--data-dir', gray, '--skip-broken')
  assert.is(JSON.parse(stdout).images, 12)
  await expectUserError([...evaluation, '--data-dir', dir], /flowers: holds a class eel, which the model does not know; use/)
  await expectUserError(
    ['eval', '--checkpoint', model, '--split', 'validation', '--data-dir', dir],
    /--split validation is for images in a folder val; a share/,
  )
})

slow("compress and expand take a model of one's own images", async () => {
  const small = ['--checkpoint', model, '--data-dir', dir, '--json']
  const { stdout } = await paraformer('compress', ...small, '--images', '12', '--batch', '2', '--out', join(work, 'small'))
  assert.equal([JSON.parse(stdout).dataset, JSON.parse(stdout).validation.heldOut], ['images', false])
  // A model that learns one of these levels of gray by the brightness alone is better than chance.
  const levels = join(work, 'levels')
  for (const level of [0, 80, 160, 240]) {
    mkdirSync(join(levels, `level ${level}`), { recursive: true })
    for (let i = 0; i < 16; i++) {
      const samples = new Uint8Array(64).fill(level + i)
      writeFileSync(
        join(levels, `level ${level}`, `${i}.png`),
        encodePng({ width: 8, height: 8, depth: 8, colorType: 0, samples }),
      )
    }
  }
  const out = join(work, 'expanded')
  await paraformer(
    ...[
      'expand',
      '--dataset',
      'images',
      '--data-dir',
      levels,
      '--tasks',
      '2',
      '--add',
      '1',
      '--arms',
      'expand',
      '--class-seed',
      '1',
    ],
    ...['--dim', '8', '--heads', '1', '--dim-head', '8', '--mlp-dim', '8', '--patch-size', '4', '--branches', '2'],
    ...[
      '--epochs',
      '15',
      '--batch-size',
      '4',
      '--lr',
      '0.01',
      '--warmup',
      '0',
      '--dropout',
      '0',
      '--test-share',
      '0.5',
      '--out',
      out,
    ],
  )
  const evaluated = ['eval', '--checkpoint', join(out, 'expanded.safetensors'), '--data-dir', levels, '--json']
  const { prefixes } = JSON.parse((await paraformer(...evaluated)).stdout)
  // The model has the classes in the order of the tasks, and eval finds them by their names.
  const { accuracies } = json(out, 'expansion.json').arms[0].stages.at(-1)
  assert.ok(Math.abs(prefixes.at(-1).accuracy - (accuracies[0] + accuracies[1]) / 2) < 1e-6)
})

slow("IDX files and records of one's own train, evaluate and predict", async () => {
  const data = join(work, 'records')
  mkdirSync(data)
  const record = (i: number) => [i % 3, ...Array.from({ length: 12 * 14 }, (_, at) => (at * (1 + (i % 3)) + i) % 256)]
  const records = (from: number, to: number) =>
    Uint8Array.from(Array.from({ length: to - from }, (_, i) => record(from + i)).flat())
  writeFileSync(join(data, 'train.bin'), records(0, 40))
  writeFileSync(join(data, 'test.bin'), records(40, 50))
  const out = join(work, 'records-run')
  await paraformer(
    'train',
    '--dataset',
    'cifar-like',
    '--data-dir',
    data,
    '--record-shape',
    '1,12,14',
    ...TINY,
    '--patch-size',
    '6',
    '--out',
    out,
  )
  const checkpoint = join(out, 'model.safetensors')
  const { stdout } = await paraformer('eval', '--checkpoint', checkpoint, '--data-dir', data, '--json')
  assert.equal([JSON.parse(stdout).dataset, JSON.parse(stdout).images], ['cifar-like', 10])
  const { stdout: classes } = await paraformer('predict', '--checkpoint', checkpoint, '--json', join(dir, 'bee', '0.png'))
  assert.is(JSON.parse(classes)[0].classes.length, 3)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
