import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../engine/base/errors.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { decodeImage, type PlanarImage, readImage } from '../../train/data/images.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects } from './userError.ts'

const { test, run } = suite('images')
const golden = decodeSafetensors(readFileSync('test/golden/images.safetensors'), 'images.safetensors').tensors
const names = [...golden.keys()].filter((name) => name.startsWith('file.')).map((name) => name.slice(5))
if (names.length < 5) throw new Error(`test/golden/images.safetensors has ${names.length} files: the tests below need them`)
const fileOf = (name: string) => golden.get(`file.${name}`)!.data as Uint8Array

/** Largest difference between decoders: 1 with alpha, which is multiplied in; 2 for JPEG, whose rounding is up to the decoder. */
const tolerance = (name: string) => (name.endsWith('.jpg') ? 2 : /rgba|Alpha/.test(name) ? 1 : 0)

for (const name of names) {
  test(`${name} has Pillow's pixels`, async () => {
    const image = await decodeImage(fileOf(name), name)
    const { data, shape } = golden.get(`pixels.${name}`)!
    equal([image.channels, image.height, image.width], shape, 'shape')
    equal(image.data.length, data.length, 'bytes')
    const worst = image.data.reduce((most, byte, i) => Math.max(most, Math.abs(byte - Number(data[i]))), 0)
    if (!(worst <= tolerance(name))) throw new Error(`off by ${worst}`)
  })
}

/** Runs `body` with a temporary folder. */
async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-images-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('gray becomes RGB and RGB gray, resized to the model, never inverted', () =>
  inFolder(async (folder) => {
    const path = (name: string) => join(folder, name)
    for (const name of ['rgb.png', 'gray.png']) writeFileSync(path(name), fileOf(name))
    equal((await readImage(path('rgb.png'), 3, 30)).length, 3 * 900, 'RGB')
    equal((await readImage(path('rgb.png'), 1, 30)).length, 900, 'RGB to gray')
    const gray = await readImage(path('gray.png'), 1, 12)
    const repeated = await readImage(path('gray.png'), 3, 12)
    for (let c = 0; c < 3; c++) equal(repeated.subarray(c * 144, (c + 1) * 144), gray, `channel ${c}`)
    const square = Uint8Array.from({ length: 16 }, (_, i) => i * 16)
    writeFileSync(path('square.png'), encodePng({ width: 4, height: 4, depth: 8, colorType: 0, samples: square }))
    equal(await readImage(path('square.png'), 1, 4), square, 'already of the size')
    equal((await readImage(path('rgb.png'), 3, 30, 'crop')).length, 3 * 900, 'cropped')
    await rejects(readImage(path('square.png'), 2, 4), /square\.png: cannot become 2 channels/, UserError)
    await rejects(readImage(path('none.png'), 3, 4), /none\.png: no such file/, UserError)
    await rejects(readImage(folder, 3, 4), /is a folder; name a file/, UserError)
    writeFileSync(path('jpeg.png'), fileOf('rgb.jpg'))
    equal((await readImage(path('jpeg.png'), 3, 4)).length, 48, 'a JPEG under a wrong name')
  }))

test('luma follows Rec. 601', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'primaries.png')
    const samples = [255, 0, 0, 0, 255, 0, 0, 0, 255]
    writeFileSync(path, encodePng({ width: 3, height: 1, depth: 8, colorType: 2, samples }))
    equal((await readImage(path, 1, 3)).slice(0, 3), [76, 150, 29], 'gray of red, green, blue')
  }))

test('what is no image, or too large, is refused', async () => {
  await rejects(decodeImage(new Uint8Array(0), 'x.png'), /^x\.png: empty, not an image; give a PNG/, UserError)
  const vector = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
  for (const text of ['\0'.repeat(50), 'hello, I am a text', vector, '%PDF-1.7', 'II*\0', 'BM', 'P6 1 1 255 abc', '\x89PNG']) {
    const bytes = new TextEncoder().encode(text)
    await rejects(decodeImage(bytes, 'x.gif'), /^x\.gif: neither PNG, JPEG, GIF nor WebP; give a PNG/, UserError)
  }
  for (const [width, height] of [
    [10_001, 10_000],
    [2_000_000_000, 1],
    [0, 5],
    [5, 0],
  ] as const) {
    const file = encodePng({ width: 1, height: 1, depth: 8, colorType: 0, samples: [0], size: [width, height] })
    await rejects(decodeImage(file, 'x.png'), /^x\.png: corrupt, truncated or too large PNG \(.+\); save it again/, UserError)
  }
})

/** Fails unless decoding soon gives an image whose size and bytes agree, or a UserError. */
async function decodesOrRefuses(bytes: Uint8Array, what: string): Promise<PlanarImage | undefined> {
  const started = performance.now()
  let image: PlanarImage | undefined
  try {
    image = await decodeImage(bytes, 'file')
  } catch (error) {
    if (!(error instanceof UserError) || /[\n\r]/.test(error.message)) throw new Error(`${what}: ${String(error)}`)
  }
  if (!(performance.now() - started < 10_000)) throw new Error(`${what}: took ${performance.now() - started} ms`)
  if (image) equal(image.data.length, image.channels * image.height * image.width, what)
  return image
}

test('a file cut anywhere is refused', async () => {
  for (const name of names) {
    const file = fileOf(name)
    // Most cuts of a JPEG are alike, and its decoder is slow to refuse them.
    const step = (length: number) => (name.endsWith('.jpg') && length > 20 && length < file.length - 40 ? 5 : 1)
    for (let length = 0; length < file.length; length += step(length)) {
      const image = await decodesOrRefuses(file.subarray(0, length), `${name} cut to ${length} of ${file.length}`)
      if (image) throw new Error(`${name} cut to ${length} of ${file.length} was read`)
    }
  }
})

test('a file with damaged bytes is refused or read, PNG never read', async () => {
  for (const [n, name] of names.entries()) {
    const random = new CounterRandom(1, [n, 0, 0])
    for (let round = 0; round < 150; round++) {
      const file = fileOf(name).slice()
      const at = random.below(file.length)
      file[at] = file[at]! ^ (1 + random.below(255))
      const image = await decodesOrRefuses(file, `${name}, byte ${at} is ${file[at]}`)
      if (image && name.endsWith('.png')) throw new Error(`${name} with byte ${at} damaged was read`)
    }
  }
})

run()
