import { readFileSync } from 'node:fs'
import { augment, flipHorizontally, randomCrop, shift } from '../../kernels/augment/hostImage.ts'
import { MAX_MAGNITUDE, OPERATIONS, randAugment } from '../../kernels/augment/operations.ts'
import { resizeBytes } from '../../kernels/augment/resize.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { resize } from '../../train/data/resize.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const { test, run } = suite('augment')
const golden = decodeSafetensors(readFileSync('test/golden/images.safetensors'), 'images.safetensors').tensors
const source = { rgb: golden.get('source.rgb')!, gray: golden.get('source.gray')! }

for (const kind of ['rgb', 'gray'] as const) {
  const [channels, height, width] = source[kind].shape as [number, number, number]
  const image = source[kind].data as Uint8Array

  test(`RandAugment's operations give Pillow's bytes (${kind})`, () => {
    const seen = new Set<string>()
    for (const [name, { data }] of golden) {
      const [group, operation, magnitude, sign, of] = name.split('.') as [string, string, string, string, string]
      if (group !== 'augment' || of !== kind) continue
      const level = Number(magnitude) / MAX_MAGNITUDE
      equal(OPERATIONS[operation]!(image, channels, height, width, level, Number(sign) as 1 | -1), data, name)
      seen.add(operation)
    }
    equal([...seen].sort(), Object.keys(OPERATIONS).sort(), 'operations compared')
  })

  test(`resizing gives Pillow's bytes (${kind})`, () => {
    let compared = 0
    for (const [name, { data, shape }] of golden) {
      if (!name.startsWith('resize.') || !name.endsWith(kind)) continue
      const out = resizeBytes(image, channels, height, width, shape[1]!, shape[2]!)
      equal(out, data, name)
      compared++
    }
    equal(compared, 5, 'sizes compared')
  })
}

test('resizing keeps a flat image flat, and an image of the same size as it is', () => {
  for (const size of [1, 2, 9, 31, 100]) {
    const flat = resize(new Float32Array(7 * 5).fill(3.25), 1, 7, 5, size, size + 1)
    if (!flat.every((value) => Math.abs(value - 3.25) < 1e-6)) throw new Error(`not flat at ${size}`)
  }
  const { data, shape } = source.rgb
  equal(resizeBytes(data as Uint8Array, 3, shape[1]!, shape[2]!, shape[1]!, shape[2]!), data, 'same size')
})

test('a shifted window shows zeros outside, at any offset', () => {
  const [channels, height, width] = [2, 3, 4]
  const image = Uint8Array.from({ length: channels * height * width }, (_, i) => i + 1)
  for (let top = -4; top <= 4; top++) {
    for (let left = -5; left <= 5; left++) {
      const expected = Array.from({ length: image.length }, (_, i) => {
        const [c, y, x] = [Math.floor(i / (height * width)), (Math.floor(i / width) % height) + top, (i % width) + left]
        return y >= 0 && y < height && x >= 0 && x < width ? image[(c * height + y) * width + x]! : 0
      })
      equal(shift(image, channels, height, width, top, left), expected, `shift by ${top}, ${left}`)
    }
  }
})

test('random crops reach every offset, about equally often', () => {
  const image = Uint8Array.from({ length: 25 }, (_, i) => i + 1)
  const counts = new Map<string, number>()
  for (let sample = 0; sample < 5000; sample++) {
    const out = randomCrop(image, 1, 5, 5, 2, new CounterRandom(1, [sample, 0, 0]))
    counts.set(out.join(), (counts.get(out.join()) ?? 0) + 1)
  }
  equal(counts.size, 25, 'offsets')
  for (const count of counts.values())
    if (!(count > 140 && count < 260)) throw new Error(`an offset came ${count} times of 200`)
})

test('flipping mirrors rows, and twice gives the image', () => {
  const image = Uint8Array.from([1, 2, 3, 4, 5, 6])
  equal(flipHorizontally(image, 3), [3, 2, 1, 6, 5, 4], 'flipped')
  equal(flipHorizontally(flipHorizontally(image, 3), 3), image, 'twice')
})

test('RandAugment draws every operation and both signs', () => {
  const [height, width] = [source.rgb.shape[1]!, source.rgb.shape[2]!]
  const image = source.rgb.data as Uint8Array
  const outputs = new Set<string>()
  for (let sample = 0; sample < 1500; sample++) {
    const out = randAugment(image, 3, height, width, { n: 1, magnitude: 14 }, new CounterRandom(5, [sample, 0, 2]))
    outputs.add(Buffer.from(out).toString('base64'))
  }
  // 9 operations have a sign, and 5 have none.
  equal(outputs.size, 23, 'different results')
})

test('an image is changed by its random stream alone, and never in place', () => {
  const [height, width] = [source.rgb.shape[1]!, source.rgb.shape[2]!]
  const image = source.rgb.data as Uint8Array
  const before = image.slice()
  const options = { cropPadding: 4, flip: true, randAugment: { n: 2, magnitude: 14 } }
  const make = (seed: number, sample: number, epoch: number) =>
    augment(image, 3, height, width, options, new CounterRandom(seed, [sample, epoch, 2]))
  equal(make(3, 4, 5), make(3, 4, 5), 'repeated')
  for (const other of [make(4, 4, 5), make(3, 5, 5), make(3, 4, 6)]) {
    if (Buffer.compare(other, make(3, 4, 5)) === 0) throw new Error('another stream gave the same image')
  }
  equal(image, before, 'the source')
  equal(augment(image, 3, height, width, {}, new CounterRandom(0, [0, 0, 0])), image, 'nothing asked for')
})

run()
