import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { createTar } from 'nanotar'
import { UserError } from '../../engine/base/errors.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { parseCifar } from '../../train/data/cifar.ts'
import { type Dataset, type DatasetName, loadDataset } from '../../train/data/datasets.ts'
import { parseIdx } from '../../train/data/idx.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects, throws } from './userError.ts'

const { test, run } = suite('data')

/** Runs `body` with a temporary folder. */
async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-data-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** An IDX file of unsigned bytes. */
function idx(dims: number[], data: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + 4 * dims.length + data.length)
  const view = new DataView(out.buffer)
  view.setUint32(0, 0x0800 + dims.length)
  dims.forEach((dim, i) => {
    view.setUint32(4 + 4 * i, dim)
  })
  out.set(data, 4 + 4 * dims.length)
  return out
}

const [COUNT, HEIGHT, WIDTH] = [4, 3, 2]
const pixels = Uint8Array.from({ length: COUNT * HEIGHT * WIDTH }, (_, i) => i * 7)
const labels = Uint8Array.of(3, 0, 9, 9)
const IMAGES = 'train-images-idx3-ubyte'
const LABELS = 'train-labels-idx1-ubyte'
const TEST_IMAGES = 't10k-images-idx3-ubyte'
const TEST_LABELS = 't10k-labels-idx1-ubyte'

/** Writes a small MNIST to a folder. @param changed replaces files, or leaves them out with null */
function writeIdx(folder: string, changed: Record<string, Uint8Array | null> = {}): void {
  const files: Record<string, Uint8Array | null> = {
    [IMAGES]: idx([COUNT, HEIGHT, WIDTH], pixels),
    [LABELS]: idx([COUNT], labels),
    [TEST_IMAGES]: idx([1, HEIGHT, WIDTH], pixels.subarray(0, HEIGHT * WIDTH)),
    [TEST_LABELS]: idx([1], Uint8Array.of(5)),
    ...changed,
  }
  for (const [name, bytes] of Object.entries(files)) if (bytes) writeFileSync(join(folder, name), bytes)
}

/** A CIFAR record whose pixels are computed from `first`. */
function record(labelBytes: number[], first: number): number[] {
  return [...labelBytes, ...Array.from({ length: 3072 }, (_, i) => (first + i) % 256)]
}
const cifar10 = (file: number) => Uint8Array.from([...record([file], file), ...record([9 - file], file + 100)])
const cifar10Files = Object.fromEntries(
  [1, 2, 3, 4, 5].map((i) => [`data_batch_${i}.bin`, cifar10(i)]).concat([['test_batch.bin', cifar10(0)]]),
) as Record<string, Uint8Array>
const cifar100Files: Record<string, Uint8Array> = {
  'train.bin': Uint8Array.from([...record([19, 99], 1), ...record([0, 0], 2)]),
  'test.bin': Uint8Array.from(record([3, 42], 3)),
}
const tarGz = (folder: string, files: Record<string, Uint8Array>) =>
  gzipSync(createTar(Object.entries(files).map(([name, data]) => ({ name: `${folder}/${name}`, data }))))

function writeFiles(folder: string, files: Record<string, Uint8Array>): void {
  mkdirSync(folder, { recursive: true })
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes)
}

test('MNIST comes whole from its package', async () => {
  delete process.env.PARAFORMER_DATA
  const { train, test: held, height, width, channels, classes, mean, std } = await loadDataset('mnist')
  equal([train.count, held.count, channels, height, width, classes], [60000, 10000, 1, 28, 28, 10], 'sizes')
  const perClass = new Array<number>(10).fill(0)
  for (const label of train.labels) perClass[label]!++
  equal(perClass, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], 'images a class')
  let [sum, squares] = [0, 0]
  for (const byte of train.images) {
    sum += byte / 255
    squares += (byte / 255) ** 2
  }
  const found = sum / train.images.length
  equal(
    [found.toFixed(4), Math.sqrt(squares / train.images.length - found ** 2).toFixed(4)],
    [`${mean[0]}`, `${std[0]}`],
    'mean, std',
  )
  equal(train.images.buffer instanceof SharedArrayBuffer, true, 'on shared memory')
})

test('IDX files are read plain and gzipped', () =>
  inFolder(async (folder) => {
    const check = ({ train, test: held, height, width }: Dataset) => {
      equal([train.count, held.count, height, width], [COUNT, 1, HEIGHT, WIDTH], 'sizes')
      equal(train.images, pixels, 'images')
      equal([...train.labels, ...held.labels], [...labels, 5], 'labels')
    }
    writeIdx(folder)
    check(await loadDataset('mnist', { dir: folder }))
    rmSync(join(folder, IMAGES))
    writeFileSync(join(folder, `${IMAGES}.gz`), gzipSync(idx([COUNT, HEIGHT, WIDTH], pixels)))
    check(await loadDataset('fashion-mnist', { dir: folder }))
  }))

test('a folder in $PARAFORMER_DATA goes before packages, and --data-dir before it', () =>
  inFolder(async (folder) => {
    mkdirSync(join(folder, 'mnist'))
    writeIdx(join(folder, 'mnist'))
    process.env.PARAFORMER_DATA = folder
    try {
      equal((await loadDataset('mnist')).train.count, COUNT, 'images')
      await rejects(loadDataset('mnist', { dir: join(folder, 'none') }), /no such file/, UserError)
    } finally {
      delete process.env.PARAFORMER_DATA
    }
  }))

const good = idx([COUNT, HEIGHT, WIDTH], pixels)
const gz = gzipSync(
  idx(
    [60, 28, 28],
    Uint8Array.from({ length: 60 * 784 }, (_, i) => (i * i) % 251),
  ),
)
const flipped = gz.map((byte, i) => (i === gz.length >> 1 ? byte ^ 0x40 : byte))
const badFiles: [string, Record<string, Uint8Array | null>, RegExp][] = [
  ['missing', { [TEST_LABELS]: null }, /t10k-labels-idx1-ubyte: no such file; .*--download/],
  ['empty', { [IMAGES]: new Uint8Array(0) }, /train-images-idx3-ubyte: truncated, 0 bytes/],
  ['cut in the header', { [IMAGES]: good.subarray(0, 10) }, /truncated, 10 bytes are less than its header/],
  ['cut in the data', { [IMAGES]: good.subarray(0, -1) }, /truncated, header says 24 bytes of data, found 23/],
  ['too long', { [LABELS]: Uint8Array.of(...idx([COUNT], labels), 0) }, /too long, header says 4 bytes of data, found 5/],
  ['images in place of labels', { [LABELS]: good }, /magic number 0x00000803, expected 0x00000801 for IDX labels/],
  ['labels in place of images', { [IMAGES]: idx([COUNT], labels) }, /magic number 0x00000801, expected 0x00000803/],
  ['text', { [LABELS]: new TextEncoder().encode('<!DOCTYPE html>') }, /magic number 0x3c21444f/],
  ['sizes whose product is huge', { [IMAGES]: idx([2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], pixels) }, /truncated/],
  ['no image', { [IMAGES]: idx([0, 3, 2], new Uint8Array(0)) }, /holds no items/],
  ['a label too many', { [LABELS]: idx([5], Uint8Array.of(0, 1, 2, 3, 4)) }, /labels-idx1-ubyte: 5 labels for 4 images/],
  ['a label outside the classes', { [LABELS]: idx([COUNT], Uint8Array.of(3, 10, 9, 9)) }, /label 10 at position 1/],
  ['test images of another size', { [TEST_IMAGES]: idx([1, 2, 3], pixels.subarray(0, 6)) }, /images of 2x3, training has 3x2/],
  ['a gzip cut off', { [IMAGES]: null, [`${IMAGES}.gz`]: gz.subarray(0, gz.length >> 1) }, /\.gz: corrupt or truncated gzip/],
  ['a gzip with a wrong byte', { [IMAGES]: null, [`${IMAGES}.gz`]: flipped }, /\.gz: corrupt or truncated gzip/],
  ['a gzip of its header alone', { [IMAGES]: null, [`${IMAGES}.gz`]: gz.subarray(0, 10) }, /corrupt or truncated gzip/],
]

for (const [what, files, message] of badFiles) {
  test(`IDX: ${what}`, () =>
    inFolder(async (folder) => {
      writeIdx(folder, files)
      await rejects(loadDataset('mnist', { dir: folder }), message, UserError)
      // The message names the file, what is wrong and what to do.
      await rejects(loadDataset('mnist', { dir: folder }), new RegExp(`^${folder}/.*ubyte(\\.gz)?: .*; .*`), UserError)
    }))
}

test('IDX: cut anywhere is refused, damaged bytes are refused or read', () => {
  for (let length = 0; length < good.length; length++) {
    throws(() => parseIdx(good.subarray(0, length), 3, 'x'), /^x: (truncated|holds no)/, UserError)
  }
  for (let round = 0; round < 3000; round++) {
    const random = new CounterRandom(3, [round, 0, 0])
    const damaged = good.slice()
    damaged[random.below(16)] = random.below(256)
    try {
      const { dims, data } = parseIdx(damaged, 3, 'x')
      equal(
        data.length,
        dims.reduce((size, dim) => size * dim, 1),
        `round ${round}`,
      )
    } catch (error) {
      if (!(error instanceof UserError)) throw error
    }
  }
})

test('CIFAR files are read from a folder, the one above, or their archive', () =>
  inFolder(async (folder) => {
    const check = async (name: DatasetName, dir: string) => {
      const { train, test: held, channels, height, classes, classNames } = await loadDataset(name, { dir })
      equal([channels, height, classes], [3, 32, name === 'cifar-10' ? 10 : 100], `${name}, sizes`)
      if (name === 'cifar-10') {
        equal([...train.labels], [1, 8, 2, 7, 3, 6, 4, 5, 5, 4], 'labels')
        equal([...held.labels], [0, 9], 'test labels')
        equal(train.images.subarray(3 * 3072, 4 * 3072), record([], 102), 'an image')
        equal(classNames![9], 'truck', 'a class name')
      } else {
        equal([...train.labels, ...held.labels], [99, 0, 42], 'fine labels')
        equal(train.images.subarray(3072), record([], 2), 'an image')
        equal(
          classNames,
          Array.from({ length: 100 }, (_, i) => `class ${i}`),
          'class names beside the files',
        )
      }
    }
    const endless = Array.from({ length: 100 }, (_, i) => `${i} ${'x'.repeat(i === 5 ? 1000 : 1)}\n`).join('')
    writeFiles(join(folder, 'long'), { ...cifar100Files, 'fine_label_names.txt': new TextEncoder().encode(endless) })
    equal(
      (await loadDataset('cifar-100', { dir: join(folder, 'long') })).classNames,
      undefined,
      'names that no checkpoint takes',
    )
    const names = new TextEncoder().encode(Array.from({ length: 100 }, (_, i) => `class ${i}\n`).join(''))
    const files100 = { ...cifar100Files, 'fine_label_names.txt': names }
    writeFiles(join(folder, 'flat10'), cifar10Files)
    await check('cifar-10', join(folder, 'flat10'))
    writeFiles(join(folder, 'above', 'cifar-100-binary'), files100)
    await check('cifar-100', join(folder, 'above'))
    for (const [name, sub, files] of [
      ['cifar-10', 'cifar-10-batches-bin', cifar10Files],
      ['cifar-100', 'cifar-100-binary', files100],
    ] as const) {
      const place = join(folder, `archived-${name}`)
      const more = { 'evil.sh': names, '../../evil.bin': names, [`../${sub}/readme.html`]: names }
      writeFiles(place, { [`${name}-binary.tar.gz`]: tarGz(sub, { ...more, ...files }) })
      await check(name, place)
      equal(readdirSync(join(place, sub)).sort(), Object.keys(files).sort(), 'what is needed is unpacked')
      equal(readdirSync(place).sort(), [`${name}-binary.tar.gz`, sub].sort(), 'nothing beside it')
      await check(name, place)
    }
  }))

test('CIFAR: what is wrong is refused in one line', () =>
  inFolder(async (folder) => {
    const cases: [string, DatasetName, Record<string, Uint8Array>, RegExp][] = [
      ['none', 'cifar-10', {}, /data_batch_1\.bin: no such file; name a folder.*--download/],
      ['one missing', 'cifar-100', { 'train.bin': cifar100Files['train.bin']! }, /test\.bin: no such file/],
      ['cut', 'cifar-10', { ...cifar10Files, 'data_batch_3.bin': cifar10(3).subarray(1) }, /data_batch_3\.bin: 6145 bytes/],
      ['a record less', 'cifar-10', { ...cifar10Files, 'data_batch_3.bin': cifar10(3).subarray(3073) }, /_3\.bin: 1 records/],
      ['empty', 'cifar-100', { ...cifar100Files, 'test.bin': new Uint8Array(0) }, /test\.bin: 0 bytes/],
      [
        'a label',
        'cifar-10',
        { ...cifar10Files, 'test_batch.bin': Uint8Array.from(record([10], 0)) },
        /label 10 at position 0/,
      ],
      ['a fine label', 'cifar-100', { ...cifar100Files, 'test.bin': Uint8Array.from(record([0, 100], 0)) }, /label 100 at/],
      [
        'an archive of another set',
        'cifar-10',
        { 'cifar-10-binary.tar.gz': tarGz('a', cifar100Files) },
        /lacks data_batch_1\.bin/,
      ],
      [
        'an archive that holds a name twice',
        'cifar-10',
        { 'cifar-10-binary.tar.gz': tarGz('a', { ...cifar10Files, '../b/test_batch.bin': cifar10(0) }) },
        /tar\.gz: holds test_batch\.bin twice/,
      ],
      [
        'no archive',
        'cifar-10',
        { 'cifar-10-binary.tar.gz': new TextEncoder().encode('hello') },
        /tar\.gz: truncated or no tar/,
      ],
      [
        'a gzip cut',
        'cifar-10',
        { 'cifar-10-binary.tar.gz': tarGz('a', cifar10Files).subarray(0, 500) },
        /corrupt or truncated gzip/,
      ],
    ]
    for (const [what, name, files, message] of cases) {
      const dir = join(folder, what.replaceAll(' ', '-'))
      writeFiles(dir, files)
      await rejects(loadDataset(name, { dir }), message, UserError)
      await rejects(loadDataset(name, { dir }), new RegExp(`^${dir}.*: .*; `), UserError)
    }
    throws(() => parseCifar(new Uint8Array(3072), { labelBytes: 1, classes: 10 }, 'x'), /^x: 3072 bytes/, UserError)
    await rejects(loadDataset('imagenet' as DatasetName), /unknown data set "imagenet"; known are mnist/, UserError)
  }))

run()
