import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import sharp from 'sharp'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/base/errors.ts'
import { type Dataset, loadDataset } from '../../train/data/datasets.ts'
import { findClassFolders } from '../../train/data/own/folders.ts'
import { withOrientation } from '../harness/jpegFiles.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { CLASSES, flat, folderMaker, samplesOf, write, writeFolder } from './ownFolder.ts'
import { rejects } from './userError.ts'

// How data sets of one's own are read from their files; no device.
const { test, run } = suite('own data')
const work = mkdtempSync(join(tmpdir(), 'paraformer-own-data-'))
const mixed = join(work, 'mixed')
await writeFolder(mixed)
const newFolder = folderMaker(work)

/** The value of a plane that is resized bilinearly, by the definition of the triangle filter, in float64. */
function resized(at: (y: number, x: number) => number, [height, width]: number[], [toHeight, toWidth]: number[]) {
  const weights = (length: number, to: number, i: number) => {
    const scale = length / to
    const all = Array.from({ length }, (_, k) => Math.max(0, 1 - Math.abs(k + 0.5 - (i + 0.5) * scale) / Math.max(1, scale)))
    const total = all.reduce((sum, weight) => sum + weight, 0)
    return all.map((weight) => weight / total)
  }
  return (y: number, x: number) => {
    let sum = 0
    for (const [j, ofRow] of weights(height!, toHeight!, y).entries())
      for (const [k, ofColumn] of weights(width!, toWidth!, x).entries()) sum += ofRow * ofColumn * at(j, k)
    return Math.floor(sum + 0.5)
  }
}

test('pixels are those of the stated rule: the shorter side is resized, the middle is cut out', async () => {
  const dir = newFolder()
  const [width, height, side] = [23, 10, 6]
  const gray = samplesOf(3, 1, width, height, 1)
  const colours = samplesOf(5, 2, height, width, 4)
  write(join(dir, 'gray', '0.png'), encodePng({ width, height, depth: 8, colorType: 0, samples: gray }))
  write(join(dir, 'gray', '1.png'), flat(9))
  // This one is high, and transparent pixels are laid over black.
  const samples = colours.map((value, i) => (i % 4 === 3 && i % 3 === 0 ? 255 : value))
  write(join(dir, 'rgba', '0.png'), encodePng({ width: height, height: width, depth: 8, colorType: 6, samples }))
  write(join(dir, 'rgba', '1.png'), flat(7))
  const { train, test: held, channels } = await loadDataset('images', { dir, imageSize: side })
  assert.is(channels, 3)
  const images = [train, held].flatMap(({ images, count }) =>
    Array.from({ length: count }, (_, i) => [...images.subarray(i * 3 * side * side, (i + 1) * 3 * side * side)]),
  )
  const has = (expected: number[], what: string) =>
    assert.ok(
      // Weights in fixed point, as Pillow has them, may give the neighbouring byte; test/train/augment compares with Pillow's.
      images.some((image) => image.every((byte, i) => Math.abs(byte - expected[i]!) <= 1)),
      what,
    )
  // 23 x 10 becomes round(23 * 6 / 10) = 14 by 6, of which columns 4 to 9 stay.
  const wide = resized((y, x) => gray[y * width + x]!, [height, width], [side, 14])
  const plane = Array.from({ length: side * side }, (_, i) => wide(Math.floor(i / side), 4 + (i % side)))
  has([...plane, ...plane, ...plane], 'the gray image, three times')
  const over = (c: number) => (y: number, x: number) =>
    Math.floor((samples[(y * height + x) * 4 + c]! * samples[(y * height + x) * 4 + 3]!) / 255 + 0.5)
  const expected = [0, 1, 2].flatMap((c) => {
    const high = resized(over(c), [width, height], [14, side])
    return Array.from({ length: side * side }, (_, i) => high(4 + Math.floor(i / side), i % side))
  })
  has(expected, 'the colour image')
})

test('an image is turned by its EXIF orientation', async () => {
  const dir = newFolder()
  const samples = samplesOf(2, 3, 16, 16, 3)
  const left = await sharp(samples, { raw: { width: 16, height: 16, channels: 3 } })
    .jpeg()
    .toBuffer()
  const { data } = await sharp(left).rotate(90).raw().toBuffer({ resolveWithObject: true })
  for (const name of ['a', 'b'])
    for (const i of [0, 1]) write(join(dir, name, `${i}.jpg`), withOrientation(new Uint8Array(left), 6))
  const { train } = await loadDataset('images', { dir, imageSize: 16 })
  equal(
    train.images.subarray(0, 256),
    Array.from({ length: 256 }, (_, i) => data[3 * i]!),
    'red',
  )
})

test('channels are 1 where every pixel is gray, in whatever file, else 3; a setting overrides that', async () => {
  const dir = newFolder()
  const samples = Array.from(samplesOf(1, 1, 8, 8, 1)).flatMap((value) => [value, value, value])
  for (const name of ['a', 'b']) {
    write(
      join(dir, name, '0.png'),
      encodePng({ width: 8, height: 8, depth: 8, colorType: 2, samples: Uint8Array.from(samples) }),
    )
    write(join(dir, name, '1.png'), flat(3, 8, 8))
  }
  const gray = await loadDataset('images', { dir, imageSize: 8 })
  assert.equal([gray.channels, gray.mean.length, gray.train.images.length], [1, 1, 128])
  const rgb = await loadDataset('images', { dir, imageSize: 8, channels: 3 })
  assert.equal([rgb.channels, rgb.mean.length, rgb.train.images.length], [3, 3, 384])
  equal(rgb.train.images.subarray(0, 64), gray.train.images.subarray(0, 64), 'the first channel')
  assert.is((await loadDataset('images', { dir: mixed })).channels, 3)
  assert.is((await loadDataset('images', { dir: mixed, channels: 1 })).channels, 1)
  await rejects(
    loadDataset('images', { dir, channels: 2 }),
    /--channels 2 is neither 1 \(gray\) nor 3 \(RGB\); choose/,
    UserError,
  )
})

test('without a size images get the median of their shorter sides, at most 64, as a multiple of the patch size', async () => {
  const sizes = [undefined, 7, 5, 40].map(
    async (multipleOf) => (await loadDataset('images', { dir: mixed, multipleOf })).height,
  )
  const [median, ...rest] = await Promise.all(sizes)
  assert.equal([median, ...rest], [14, 14, 10, 40])
  const dir = newFolder()
  for (const name of ['a', 'b']) for (const i of [0, 1]) write(join(dir, name, `${i}.png`), flat(i, 100, 90))
  const { height, width } = await loadDataset('images', { dir })
  assert.equal([height, width], [64, 64])
})

test('mean and deviation are those of the training images in float64; a constant channel has deviation 1', async () => {
  const { mean, std, train, channels, height } = await loadDataset('images', { dir: mixed, imageSize: 14 })
  const pixels = height * height
  for (let c = 0; c < channels; c++) {
    const values: number[] = []
    for (let i = 0; i < train.count; i++) {
      const from = (i * channels + c) * pixels
      for (const byte of train.images.subarray(from, from + pixels)) values.push(byte / 255)
    }
    const average = values.reduce((a, b) => a + b) / values.length
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / values.length)
    for (const [found, expected] of [
      [mean[c]!, average],
      [std[c]!, deviation],
    ] as const)
      if (!(Math.abs(found - expected) < 1e-12)) throw new Error(`channel ${c}: ${found}, expected ${expected}`)
  }
  const dir = newFolder()
  for (const name of ['a', 'b']) for (const i of [0, 1]) write(join(dir, name, `${i}.png`), flat(51))
  const constant = await loadDataset('images', { dir })
  assert.equal([constant.mean, constant.std], [[0.2], [1]])
})

/** The images of a split as texts, with their labels' names. */
function contentOf({ train, test, classNames }: Dataset, split: 'train' | 'test'): string[] {
  const { images, labels, count } = { train, test }[split]
  const length = images.length / count
  return Array.from({ length: count }, (_, i) => `${classNames![labels[i]!]} ${images.subarray(i * length, (i + 1) * length)}`)
}

test('the division is fixed by the seed, has the share of each class, and shares no image', async () => {
  const load = (options = {}) => loadDataset('images', { dir: mixed, imageSize: 14, seed: 3, ...options })
  const first = await load()
  const [train, held] = [contentOf(first, 'train'), contentOf(first, 'test')]
  assert.equal([train.length, held.length], [60, 12])
  assert.is(new Set([...train, ...held]).size, 72)
  const perClass = (labels: ArrayLike<number>) =>
    CLASSES.map((_, label) => Array.from(labels).filter((own) => own === label).length)
  assert.equal([perClass(first.train.labels), perClass(first.test.labels)], [Array(12).fill(5), Array(12).fill(1)])
  // A few first images are of many classes.
  assert.ok(new Set(first.train.labels.subarray(0, 20)).size > 5)
  const half = await load({ testShare: 0.5 })
  assert.equal(perClass(half.test.labels), Array(12).fill(3))
  assert.ok(
    held.every((image) => contentOf(half, 'test').includes(image)),
    'a larger share holds the smaller one',
  )
  assert.not.equal(contentOf(await load({ seed: 4 }), 'test'), held)
  // Files that were written in another order, elsewhere, give the same.
  const copy = join(work, 'copy')
  for (const name of CLASSES.toReversed()) cpSync(join(mixed, name), join(copy, name), { recursive: true })
  const again = await loadDataset('images', { dir: copy, imageSize: 14, seed: 3 })
  assert.equal([contentOf(again, 'train'), contentOf(again, 'test'), again.sha256], [train, held, first.sha256])
  // Another class changes neither the parts of the others nor the order in them.
  cpSync(join(mixed, 'bee'), join(copy, 'zebra'), { recursive: true })
  const more = await loadDataset('images', { dir: copy, imageSize: 14, seed: 3 })
  assert.is(more.classes, 13)
  const without = (images: string[]) => images.filter((image) => !image.startsWith('zebra'))
  assert.equal([without(contentOf(more, 'train')), without(contentOf(more, 'test'))], [train, held])
})

test('folders train and test say the parts; val is for validation, or for tests where there is no test', async () => {
  const dir = newFolder()
  for (const [split, count] of Object.entries({ train: 3, test: 1, val: 2 }))
    for (const [label, name] of ['a', 'b'].entries())
      for (let i = 0; i < count; i++)
        write(join(dir, split, name, `${split}${i}.png`), flat(10 * i + label + 100 * split.length))
  const { train, test: held, validation, mean } = await loadDataset('images', { dir, imageSize: 4 })
  assert.equal([train.count, held.count, [...validation!]], [10, 2, [6, 7, 8, 9]])
  const first = ({ images }: { images: Uint8Array }, count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => images[(from + i) * 16]!).sort((a, b) => a - b)
  assert.equal(
    [first(train, 4, 6), first(held, 2)],
    [
      [44, 45, 54, 55],
      [144, 145],
    ],
  )
  // Images that are held out do not count.
  const average = first(train, 6).reduce((a, b) => a + b) / 6 / 255
  assert.ok(Math.abs(mean[0]! - average) < 1e-12)
  rmSync(join(dir, 'test'), { recursive: true })
  renameSync(join(dir, 'val'), join(dir, 'valid'))
  const two = await loadDataset('images', { dir, imageSize: 4 })
  assert.equal([two.train.count, two.test.count, two.validation], [6, 4, undefined])
  mkdirSync(join(dir, 'c'))
  await rejects(loadDataset('images', { dir }), /holds a folder c beside train and valid; keep either/, UserError)
  renameSync(join(dir, 'c'), join(dir, 'valid', 'c'))
  await rejects(loadDataset('images', { dir }), /valid\/c: a class that train lacks; remove it/, UserError)
})

test('links, folders in folders, hidden files and odd names', async () => {
  const dir = newFolder()
  write(join(dir, 'a', 'deep', 'er', '0.png'), flat(1))
  write(join(dir, 'a', 'x\ny.png'), flat(2))
  write(join(dir, 'a', '.hidden.png'), 'no image')
  write(join(dir, 'a', 'Thumbs.db'), 'no image')
  write(join(dir, 'README.txt'), 'no image')
  write(join(dir, '__proto__', '0.png'), flat(3))
  write(join(dir, '__proto__', '1.png'), flat(4))
  for (const [target, name] of [
    ['..', 'up'],
    ['.', 'self'],
    ['deep', 'twice'],
    ['deep/er/0.png', 'link.png'],
  ] as const)
    symlinkSync(target, join(dir, 'a', name))
  const found = await findClassFolders(dir)
  equal(
    found.train.map(({ name, files }) => [name, files.map((file) => file.name)]),
    [
      ['__proto__', ['__proto__/0.png', '__proto__/1.png']],
      ['a', ['a/deep/er/0.png', 'a/link.png', 'a/x\ny.png']],
    ],
    'files',
  )
  const { classNames, train, test: held, sha256 } = await loadDataset('images', { dir })
  assert.equal([classNames, train.count, held.count, Object.keys(sha256!)], [['__proto__', 'a'], 3, 2, ['__proto__', 'a']])
  await rejects(findClassFolders(dir, 4), /holds too many files for one data set; name a folder of fewer/, UserError)
})

test('labels follow the class names of a model, whatever the order of folders', async () => {
  const [own, other] = await Promise.all([
    loadDataset('images', { dir: mixed, imageSize: 14 }),
    loadDataset('images', { dir: mixed, imageSize: 14, classNames: CLASSES.toReversed() }),
  ])
  assert.equal(contentOf(other, 'train'), contentOf(own, 'train'))
  assert.is(other.train.labels[0], 11 - own.train.labels[0]!)
})

test('more classes than a byte holds', async () => {
  const dir = newFolder()
  for (let label = 0; label < 300; label++)
    for (let i = 0; i < 2; i++) write(join(dir, `c${1000 + label}`, `${i}.png`), flat(label % 256, 2, 2))
  const { train, classes, test: held } = await loadDataset('images', { dir })
  assert.equal([classes, train.count, held.count], [300, 300, 300])
  assert.ok(train.labels instanceof Uint16Array)
  for (let i = 0; i < train.count; i++) assert.is(train.images[4 * i], train.labels[i]! % 256)
})

/** An IDX file of unsigned bytes. */
function idx(dims: number[], data: ArrayLike<number>): Uint8Array {
  const head = Buffer.alloc(4 + 4 * dims.length)
  head.writeUInt32BE(0x0800 + dims.length)
  for (const [i, dim] of dims.entries()) head.writeUInt32BE(dim, 4 + 4 * i)
  return Uint8Array.from([...head, ...Array.from(data)])
}

test('IDX files of any number of classes and size', async () => {
  const dir = newFolder()
  const pixels = Uint8Array.from({ length: 3 * 20 }, (_, i) => 4 * i)
  write(join(dir, 'emnist-letters-train-images-idx3-ubyte.gz'), gzipSync(idx([3, 4, 5], pixels)))
  write(join(dir, 'emnist-letters-train-labels-idx1-ubyte.gz'), gzipSync(idx([3], [26, 1, 0])))
  write(join(dir, 'emnist-letters-test-images-idx3-ubyte'), idx([1, 4, 5], pixels.subarray(0, 20)))
  await rejects(
    loadDataset('idx', { dir }),
    /emnist-letters-test-labels-idx1-ubyte: no such file; add the labels of emnist/,
    UserError,
  )
  write(join(dir, 'emnist-letters-test-labels-idx1-ubyte'), idx([1], [5]))
  const { classes, channels, height, width, train, test: held, files, own } = await loadDataset('idx', { dir })
  assert.equal([classes, channels, height, width, [...train.labels], [...held.labels]], [27, 1, 4, 4, [26, 1, 0], [5]])
  // Of columns 0 to 4 the first four are in the middle.
  equal(train.images.subarray(0, 8), [0, 4, 8, 12, 20, 24, 28, 32], 'pixels')
  assert.equal([files!.length, own], [4, {}])
  write(join(dir, 'classes.txt'), Array.from({ length: 26 }, (_, i) => `letter ${i}`).join('\n'))
  await rejects(loadDataset('idx', { dir }), /classes\.txt: label 26 at position 0 is outside the 26 classes/, UserError)
  write(join(dir, 'classes.txt'), Array.from({ length: 30 }, (_, i) => `letter ${i}`).join('\r\n'))
  const named = await loadDataset('idx', { dir })
  assert.equal([named.classes, named.classNames![29]], [30, 'letter 29'])
  write(join(dir, 'train-images-idx3-ubyte'), idx([3, 4, 5], pixels))
  await rejects(
    loadDataset('idx', { dir }),
    /holds emnist-letters-train-images-idx3-ubyte\.gz and train-images-idx3-ubyte; keep/,
    UserError,
  )
  await rejects(loadDataset('idx', { dir: mixed }), /train-images-idx3-ubyte: no such file, nor one like it; add/, UserError)
})

test('records like those of CIFAR, of any shape and number of classes', async () => {
  const dir = newFolder()
  const record = (label: number, from: number) => [label, ...Array.from({ length: 2 * 3 * 4 }, (_, i) => from + i)]
  write(join(dir, 'part_1.bin'), Uint8Array.from([...record(16, 0), ...record(2, 100)]))
  write(join(dir, 'part_2.bin.gz'), gzipSync(Uint8Array.from(record(3, 200))))
  await rejects(loadDataset('cifar-like', { dir }), /test_batch\.bin: no such file, nor one like it; files of test/, UserError)
  write(join(dir, 'test.bin'), Uint8Array.from(record(0, 50)))
  await rejects(
    loadDataset('cifar-like', { dir }),
    /part_1\.bin: 50 bytes are no whole number of 3073-byte records .* --record-shape/,
    UserError,
  )
  const recordShape = [2, 3, 4]
  const { classes, channels, height, width, train, test: held, own } = await loadDataset('cifar-like', { dir, recordShape })
  assert.equal([classes, channels, height, width, [...train.labels], [...held.labels]], [17, 2, 3, 3, [16, 2, 3], [0]])
  equal(held.images, [50, 51, 52, 54, 55, 56, 58, 59, 60, 62, 63, 64, 66, 67, 68, 70, 71, 72], 'pixels')
  assert.equal(own, { recordShape })
  write(join(dir, 'batches.meta.txt'), 'only\n')
  await rejects(
    loadDataset('cifar-like', { dir, recordShape }),
    /batches\.meta\.txt: names 1 classes; give two or more/,
    UserError,
  )
})

test('ends', () => {
  assert.ok(readFileSync(join(mixed, 'bee', '0.png')).length > 0)
  rmSync(work, { recursive: true })
})
run()
