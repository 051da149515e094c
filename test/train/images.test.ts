import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encode } from 'fast-png'
import { UserError } from '../../engine/errors.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { decodeImage, type PlanarImage, readImage } from '../../train/data/images.ts'
import { CounterRandom } from '../../train/data/random.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects, throws } from './userError.ts'

const { test, run } = suite('images')
const golden = decodeSafetensors(readFileSync('test/golden/images.safetensors'), 'images.safetensors').tensors
const names = [...golden.keys()].filter((name) => name.startsWith('file.')).map((name) => name.slice(5))
const fileOf = (name: string) => golden.get(`file.${name}`)!.data as Uint8Array

/** How far decoders may differ: 1 where alpha is multiplied in; JPEG's inverse transform and chroma filters are free. */
const TOLERANCE: Record<string, number> = {
  'rgba.png': 1,
  'grayAlpha.png': 1,
  'rgb.jpg': 3,
  'progressive.jpg': 3,
  'gray.jpg': 1,
  'subsampled.jpg': 45,
}

for (const name of names) {
  test(`${name} has Pillow's pixels`, () => {
    const image = decodeImage(fileOf(name), name)
    const { data, shape } = golden.get(`pixels.${name}`)!
    const [channels, height, width] = shape as [number, number, number]
    equal([image.height, image.width], [height, width], 'size')
    equal(image.data.length, image.channels * height * width, 'bytes')
    let worst = 0
    for (let i = 0; i < image.data.length; i++) {
      // The JPEG decoder gives gray as RGB.
      const expected = Number(data[image.channels === channels ? i : i % (height * width)])
      worst = Math.max(worst, Math.abs(image.data[i]! - expected))
    }
    if (!(worst <= (TOLERANCE[name] ?? 0))) throw new Error(`off by ${worst}`)
  })
}

test('gray becomes RGB and RGB gray, resized to the model, never inverted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-images-'))
  try {
    const path = (name: string) => join(folder, name)
    for (const name of ['rgb.png', 'gray.png']) writeFileSync(path(name), fileOf(name))
    equal((await readImage(path('rgb.png'), 3, 30)).length, 3 * 900, 'RGB')
    equal((await readImage(path('rgb.png'), 1, 30)).length, 900, 'RGB to gray')
    const gray = await readImage(path('gray.png'), 1, 12)
    const repeated = await readImage(path('gray.png'), 3, 12)
    for (let c = 0; c < 3; c++) equal(repeated.subarray(c * 144, (c + 1) * 144), gray, `channel ${c}`)
    const square = Uint8Array.from({ length: 16 }, (_, i) => i * 16)
    writeFileSync(path('square.png'), encode({ width: 4, height: 4, data: square, channels: 1, depth: 8 }))
    equal(await readImage(path('square.png'), 1, 4), square, 'already of the size')
    await rejects(readImage(path('square.png'), 2, 4), /square\.png: cannot become 2 channels/, UserError)
    await rejects(readImage(path('none.png'), 3, 4), /none\.png: no such file/, UserError)
    await rejects(readImage(folder, 3, 4), /cannot be read/, UserError)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('luma follows Rec. 601', () => {
  const rgb = encode({ width: 3, height: 1, data: Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255), channels: 3, depth: 8 })
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-images-'))
  writeFileSync(join(folder, 'primaries.png'), rgb)
  return readImage(join(folder, 'primaries.png'), 1, 3)
    .then((gray) => equal(gray.slice(0, 3), [76, 150, 29], 'gray of red, green, blue'))
    .finally(() => rmSync(folder, { recursive: true }))
})

test('what is no image, or too large, is refused', () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(50), new TextEncoder().encode('GIF89a, not for us')]) {
    throws(() => decodeImage(bytes, 'x.gif'), /x\.gif: neither PNG nor JPEG/, UserError)
  }
  const huge = fileOf('rgb.png').slice()
  new DataView(huge.buffer).setUint32(16, 2_000_000_000)
  throws(() => decodeImage(huge, 'huge.png'), /huge\.png: .*2000000000x/, UserError)
  const interlaced = fileOf('bits.png').slice()
  interlaced[28] = 1
  throws(() => decodeImage(interlaced, 'i.png'), /i\.png: corrupt or unsupported PNG/, UserError)
})

/** UserError, or an image whose size and bytes agree; nothing else, and soon. */
function decodesOrRefuses(bytes: Uint8Array, what: string): PlanarImage | undefined {
  const started = performance.now()
  let image: PlanarImage | undefined
  try {
    image = decodeImage(bytes, 'file')
  } catch (error) {
    if (!(error instanceof UserError) || /[\n\r]/.test(error.message)) throw new Error(`${what}: ${String(error)}`)
  }
  if (!(performance.now() - started < 5000)) throw new Error(`${what}: took ${performance.now() - started} ms`)
  if (image) equal(image.data.length, image.channels * image.height * image.width, what)
  return image
}

test('a file cut anywhere is refused', () => {
  for (const name of names) {
    const file = fileOf(name)
    // Without its end marker alone a JPEG is whole, as the format's readers take it.
    const whole = name.endsWith('.jpg') ? file.length - 2 : file.length
    for (let length = 0; length < whole; length++) {
      const image = decodesOrRefuses(file.subarray(0, length), `${name} cut to ${length} of ${file.length}`)
      if (image) throw new Error(`${name} cut to ${length} of ${file.length} was read`)
    }
  }
})

test('a file with damaged bytes is refused or read, PNG never read', () => {
  for (const [n, name] of names.entries()) {
    const random = new CounterRandom(1, [n, 0, 0])
    for (let round = 0; round < 150; round++) {
      const file = fileOf(name).slice()
      const at = random.below(file.length)
      file[at] = file[at]! ^ (1 + random.below(255))
      const image = decodesOrRefuses(file, `${name}, byte ${at} is ${file[at]}`)
      if (image && name.endsWith('.png')) throw new Error(`${name} with byte ${at} damaged was read`)
    }
  }
})

run()
