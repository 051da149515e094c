import sharp from 'sharp'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { decodeImage } from '../../train/data/images.ts'
import { encodeJpeg, exifOf, withAdobe, withOrientation } from '../harness/jpegFiles.ts'
import { encodePng, PNG_SAMPLES } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

// Small files of every kind, made here, with the pixels that decoders must give.
const { test, run } = suite('image kinds')
let tested = 0

/** The pixels of a file, [height, width, channels], as real numbers from 0 to 255. */
interface Meaning {
  channels: 1 | 3
  width: number
  height: number
  values: readonly number[]
}

function means(title: string, file: () => Uint8Array | Promise<Uint8Array>, meaning: () => Meaning, tolerance = 0): void {
  tested++
  test(title, async () => {
    const image = await decodeImage(await file(), 'file')
    const { channels, width, height, values } = meaning()
    equal([image.channels, image.height, image.width], [channels, height, width], 'channels, height, width')
    const pixels = width * height
    for (let i = 0; i < values.length; i++) {
      const found = image.data[(i % channels) * pixels + Math.floor(i / channels)]!
      const expected = values[i]!
      if (!(Math.abs(found - Math.round(expected)) <= tolerance)) {
        throw new Error(`pixel ${Math.floor(i / channels)}, channel ${i % channels} is ${found}, not ${expected}`)
      }
    }
  })
}

// At this size rows of 1, 2 and 4 bits end within a byte, and all seven passes of Adam7 have pixels.
const [WIDTH, HEIGHT] = [11, 9]
const PIXELS = WIDTH * HEIGHT
const random = (stream: number, count: number, below: number): number[] => {
  const source = new CounterRandom(5, [stream, 0, 0])
  return Array.from({ length: count }, () => source.below(below))
}
const NAMES: Readonly<Record<number, string>> = { 0: 'gray', 2: 'RGB', 3: 'palette', 4: 'gray and alpha', 6: 'RGB and alpha' }
const DEPTHS: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
}

/**
 * A PNG of random samples and its pixels.
 * @param transparent adds a transparent colour to gray or RGB, and alphas to a palette
 */
function png(colorType: number, depth: number, interlaced: boolean, transparent: boolean) {
  const most = 2 ** depth - 1
  const perPixel = PNG_SAMPLES[colorType]!
  const samples = random(colorType, PIXELS * perPixel, most + 1)
  const palette = random(20, 3 * (most + 1), 256)
  const alphas = random(21, Math.max(1, most - 1), 256)
  const key = samples.slice(7 * perPixel, 8 * perPixel)
  const keyBytes = key.flatMap((value) => [value >> 8, value & 255])
  const file = encodePng({
    width: WIDTH,
    height: HEIGHT,
    depth,
    colorType,
    interlaced,
    samples,
    ...(colorType === 3 && { palette }),
    ...(transparent && { transparency: colorType === 3 ? alphas : keyBytes }),
  })
  const values = Array.from({ length: PIXELS }, (_, i) => {
    const own = samples.slice(i * perPixel, (i + 1) * perPixel)
    if (colorType === 3) {
      const alpha = transparent ? (alphas[own[0]!] ?? 255) / 255 : 1
      return palette.slice(3 * own[0]!, 3 * own[0]! + 3).map((value) => value * alpha)
    }
    const keyed = transparent && own.every((value, s) => value === key[s])
    const alpha = keyed ? 0 : perPixel % 2 === 0 ? own.at(-1)! / most : 1
    return own.slice(0, perPixel < 3 ? 1 : 3).map((value) => (255 * value * alpha) / most)
  }).flat()
  const meaning: Meaning = { channels: colorType === 0 || colorType === 4 ? 1 : 3, width: WIDTH, height: HEIGHT, values }
  return { file, meaning }
}

for (const [type, depths] of Object.entries(DEPTHS)) {
  for (const depth of depths) {
    for (const interlaced of [false, true]) {
      for (const transparent of Number(type) < 4 ? [false, true] : [false]) {
        const { file, meaning } = png(Number(type), depth, interlaced, transparent)
        const words = [`${depth} bits`, ...(transparent ? ['tRNS'] : []), ...(interlaced ? ['interlaced'] : [])]
        means(
          `PNG, ${NAMES[Number(type)]}, ${words.join(', ')}`,
          () => file,
          () => meaning,
        )
      }
    }
  }
}

for (const [width, height] of [
  [1, 1],
  [3, 2],
  [1, 9],
] as const) {
  const samples = random(30, width * height, 4)
  means(
    `PNG, gray, 2 bits, interlaced, ${width}x${height}: passes without pixels`,
    () => encodePng({ width, height, depth: 2, colorType: 0, interlaced: true, samples }),
    () => ({ channels: 1, width, height, values: samples.map((value) => 85 * value) }),
  )
}

const ramp = random(40, PIXELS * 3, 256)
const rgb = (values: readonly number[] = ramp): Meaning => ({ channels: 3, width: WIDTH, height: HEIGHT, values })
const rgbPng = (chunks: readonly (readonly [string, Uint8Array])[]) =>
  encodePng({ width: WIDTH, height: HEIGHT, depth: 8, colorType: 2, samples: ramp, chunks })
const wide = () => sharp({ create: { width: 2, height: 2, channels: 3, background: 'red' } }).withIccProfile('p3')

means(
  'PNG with gAMA 1.0: samples as they are stored',
  () => rgbPng([['gAMA', Uint8Array.of(0, 1, 0x86, 0xa0)]]),
  () => rgb(),
)
means(
  'PNG with an iCCP profile of wide colours: samples as they are stored',
  async () => {
    const carrier = Buffer.from(await wide().png().toBuffer())
    const at = carrier.indexOf('iCCP')
    return rgbPng([['iCCP', carrier.subarray(at + 4, at + 4 + carrier.readUInt32BE(at - 4))]])
  },
  () => rgb(),
)

/** The size of an image as it is shown, and for each pixel the index of the stored one, by EXIF's orientations 1 to 8. */
function upright(orientation: number, width: number, height: number): { width: number; height: number; from: number[] } {
  const turned = orientation > 4
  const [w, h] = turned ? [height, width] : [width, height]
  const from = Array.from({ length: w * h }, (_, i) => {
    const [x, y] = [i % w, Math.floor(i / w)]
    const [a, b] = turned ? [y, x] : [x, y]
    const [right, bottom] = [width - 1 - a, height - 1 - b]
    const [column, row] = (
      [
        [a, b],
        [right, b],
        [right, bottom],
        [a, bottom],
        [a, b],
        [a, bottom],
        [right, bottom],
        [right, b],
      ] as const
    )[orientation - 1]!
    return row * width + column
  })
  return { width: w, height: h, from }
}

for (let orientation = 1; orientation <= 8; orientation++) {
  const { width, height, from } = upright(orientation, WIDTH, HEIGHT)
  means(
    `PNG, RGB, eXIf orientation ${orientation}`,
    () => rgbPng([['eXIf', exifOf(orientation)]]),
    () => ({ channels: 3, width, height, values: from.flatMap((pixel) => ramp.slice(3 * pixel, 3 * pixel + 3)) }),
  )
  const [blocksX, blocksY] = [3, 2]
  const grays = random(50, blocksX * blocksY, 256)
  const shown = upright(orientation, 8 * blocksX, 8 * blocksY)
  means(
    `JPEG, gray, EXIF orientation ${orientation}`,
    () => {
      const components = [{ id: 1, across: 1, down: 1 }]
      const block = (_c: number, x: number, y: number) => grays[y * blocksX + x]!
      return withOrientation(encodeJpeg({ width: 8 * blocksX, height: 8 * blocksY, components, block }), orientation)
    },
    () => ({
      channels: 1,
      width: shown.width,
      height: shown.height,
      values: shown.from.map((pixel) => {
        const [x, y] = [(pixel % (8 * blocksX)) >> 3, Math.floor(pixel / (8 * blocksX)) >> 3]
        return grays[y * blocksX + x]!
      }),
    }),
  )
}

/** A JPEG of 2 x 2 blocks, or 2 x 2 units of several blocks, with one colour each, and its pixels. */
function jpeg(
  title: string,
  ids: readonly number[],
  adobe: number | undefined,
  toRgb: (block: readonly number[]) => number[],
  [across, down] = [1, 1],
): void {
  const colours = Array.from({ length: 4 }, (_, i) => random(60 + i, ids.length, 200).map((value) => value + 28))
  // Decoders blend subsampled chroma at the borders of units, so all units get one chroma.
  if (across * down > 1) for (const colour of colours) colour.splice(1, 2, colours[0]![1]!, colours[0]![2]!)
  const [width, height] = [16 * across, 16 * down]
  means(
    title,
    () => {
      const components = ids.map((id, c) => (c === 0 ? { id, across, down } : { id, across: 1, down: 1 }))
      const unit = (c: number, x: number, y: number) =>
        c === 0 ? 2 * Math.floor(y / down) + Math.floor(x / across) : 2 * y + x
      const file = encodeJpeg({ width, height, components, block: (c, x, y) => colours[unit(c, x, y)]![c]! })
      return adobe === undefined ? file : withAdobe(file, adobe)
    },
    () => {
      const values = Array.from({ length: width * height }, (_, i) => {
        const [x, y] = [Math.floor((i % width) / (8 * across)), Math.floor(i / width / (8 * down))]
        return toRgb(colours[2 * y + x]!)
      }).flat()
      return { channels: ids.length === 1 ? 1 : 3, width, height, values }
    },
    ids.length === 1 ? 0 : 1,
  )
}
const clamp = (value: number) => Math.min(255, Math.max(0, value))
const fromYcc = ([y = 0, cb = 0, cr = 0]: readonly number[]) =>
  [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)].map(clamp)
const same = (block: readonly number[]) => [...block]
// These files store 255 minus the ink, as Adobe's programs do.
const fromCmyk = ([c = 0, m = 0, y = 0, k = 0]: readonly number[]) => [c, m, y].map((value) => (value * k) / 255)

const RGB_IDS = [...Buffer.from('RGB')]
jpeg('JPEG, gray', [1], undefined, same)
jpeg('JPEG, YCbCr', [1, 2, 3], undefined, fromYcc)
jpeg('JPEG, Adobe transform 1: YCbCr', [1, 2, 3], 1, fromYcc)
jpeg('JPEG, Adobe transform 0: RGB', [1, 2, 3], 0, same)
jpeg('JPEG, components named R, G, B', RGB_IDS, undefined, same)
jpeg('JPEG, Adobe transform 0: CMYK', [1, 2, 3, 4], 0, fromCmyk)
jpeg('JPEG, four components without a marker: CMYK', [1, 2, 3, 4], undefined, fromCmyk)
jpeg('JPEG, Adobe transform 2: YCCK', [1, 2, 3, 4], 2, (block) =>
  fromCmyk([...fromYcc(block).map((value) => 255 - value), block[3]!]),
)
jpeg('JPEG, YCbCr 4:2:2', [1, 2, 3], undefined, fromYcc, [2, 1])
jpeg('JPEG, YCbCr 4:2:0', [1, 2, 3], undefined, fromYcc, [2, 2])
jpeg('JPEG, YCbCr 4:4:0', [1, 2, 3], undefined, fromYcc, [1, 2])

/** A gentle slope, which lossy formats keep. */
const slope = Uint8Array.from({ length: 40 * 24 * 3 }, (_, i) => {
  const [x, y] = [Math.floor(i / 3) % 40, Math.floor(i / 120)]
  return [4 * x + 40, 6 * y + 30, 220 - 2 * x - 2 * y][i % 3]!
})
const sloped: Meaning = { channels: 3, width: 40, height: 24, values: [...slope] }
const made = () => sharp(slope, { raw: { width: 40, height: 24, channels: 3 } })
for (const chromaSubsampling of ['4:4:4', '4:2:0']) {
  for (const progressive of [false, true]) {
    means(
      `JPEG ${chromaSubsampling}${progressive ? ', progressive' : ''}, of a slope`,
      () => made().jpeg({ quality: 97, chromaSubsampling, progressive }).toBuffer(),
      () => sloped,
      6,
    )
  }
}
means(
  'JPEG with a profile of wide colours: samples as they are stored',
  async () => {
    const segment = (await wide().jpeg().toBuffer()).subarray(2)
    const at = segment.indexOf('ICC_PROFILE')
    const plain = await made().jpeg({ quality: 97, chromaSubsampling: '4:4:4' }).toBuffer()
    const length = segment.readUInt16BE(at - 2)
    return Buffer.concat([plain.subarray(0, 2), segment.subarray(at - 4, at - 2 + length), plain.subarray(2)])
  },
  () => sloped,
  6,
)

const rgba = random(70, PIXELS * 4, 256)
const translucent = () => sharp(Uint8Array.from(rgba), { raw: { width: WIDTH, height: HEIGHT, channels: 4 } })
const shown = Array.from({ length: PIXELS * 3 }, (_, i) => {
  const pixel = Math.floor(i / 3)
  return (rgba[4 * pixel + (i % 3)]! * rgba[4 * pixel + 3]!) / 255
})
const opaque = () => sharp(Uint8Array.from(ramp), { raw: { width: WIDTH, height: HEIGHT, channels: 3 } })
means(
  'WebP, lossless',
  () => opaque().webp({ lossless: true }).toBuffer(),
  () => rgb(),
)
means(
  'WebP, lossless with alpha',
  () => translucent().webp({ lossless: true, exact: true }).toBuffer(),
  () => rgb(shown),
)
means(
  'WebP, of a slope',
  () => made().webp({ quality: 97 }).toBuffer(),
  () => sloped,
  12,
)
means(
  'GIF',
  () => opaque().gif({ dither: 0 }).toBuffer(),
  () => rgb(),
)
means(
  'GIF of two frames: the first',
  () => {
    const frames = Uint8Array.from([...ramp, ...ramp.map((value) => 255 - value)])
    return sharp(frames, { raw: { width: WIDTH, height: 2 * HEIGHT, channels: 3, pageHeight: HEIGHT } })
      .gif({ dither: 0, loop: 0, interFrameMaxError: 0 })
      .toBuffer()
  },
  () => rgb(),
)

test('there are files enough', () => {
  if (tested < 40) throw new Error(`only ${tested}`)
})

run()
