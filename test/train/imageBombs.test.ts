import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { resizeBytes } from '../../kernels/augment/resize.ts'
import { decodeImage } from '../../train/data/images.ts'
import { peakMemory, peakMemoryOf } from '../harness/memory.ts'
import { encodePng, pngOf } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'

// Small image files that unpack to very much. A process of its own reads each, and prints its peak memory.
const [, , path] = process.argv
if (path !== undefined) {
  const said = await decodeImage(readFileSync(path), 'bomb').then(
    ({ data, channels, width, height }) => {
      // Resizing as for a model of large images. Resizing columns first would take 1.5 GB.
      if (height === 65_000) resizeBytes(data, channels, height, width, 2000, 2000)
      return `read ${width}x${height}`
    },
    (error) => error.message,
  )
  console.log(JSON.stringify({ said, peak: peakMemory() }))
  process.exit()
}

const { test, run } = suite('image bombs')
/** 600 MB of zeros, compressed to 600 kB. */
const zeros = deflateSync(Buffer.alloc(6e8), { level: 9 })
const none = new Uint8Array(0)
const header = (width: number, height: number) => {
  const bytes = Buffer.alloc(13)
  bytes.writeUInt32BE(width)
  bytes.writeUInt32BE(height, 4)
  bytes.set([8, 2, 0, 0, 0], 8)
  return bytes
}
const small = (...chunks: (readonly [string, Uint8Array])[]) =>
  encodePng({ width: 4, height: 4, depth: 8, colorType: 2, samples: new Uint8Array(48), chunks })
const pixelsOf = (width: number, height: number, data: Uint8Array) =>
  pngOf([
    ['IHDR', header(width, height)],
    ['IDAT', data],
    ['IEND', none],
  ])
const named = Buffer.concat([Buffer.from('x\0\0', 'latin1'), zeros])

const folder = mkdtempSync(join(tmpdir(), 'paraformer-bombs-'))
const file = join(folder, 'file')
function measure(bytes: Uint8Array): { peak: number; said: string } {
  writeFileSync(file, bytes)
  return peakMemoryOf(file)
}

let usual: number | undefined

/** Registers a test of the message and the peak memory of reading a file. @param most MiB beyond those of a small image */
function bounded(title: string, bytes: () => Uint8Array, most: number, says: RegExp): void {
  test(title, () => {
    const { peak, said } = measure(bytes())
    if (!says.test(said)) throw new Error(`it says ${said}`)
    usual ??= measure(small()).peak
    if (!(peak - usual < most)) throw new Error(`${peak - usual} MiB more than a small image takes`)
  })
}

bounded('a PNG whose pixels unpack to more than it has', () => pixelsOf(4, 4, zeros), 64, /^read 4x4|^bomb: corrupt/)
bounded('a PNG whose profile unpacks to 600 MB', () => small(['iCCP', named]), 64, /^read 4x4|^bomb: corrupt/)
bounded(
  'a PNG with 10 texts that unpack to 600 MB each',
  () => small(...Array.from({ length: 10 }, () => ['zTXt', named] as const)),
  128,
  /^read 4x4|^bomb: corrupt/,
)
bounded('a PNG of 100 megapixels and one row', () => pixelsOf(10_001, 10_000, zeros), 64, /pixel limit/)
bounded('a PNG of the largest size', () => pixelsOf(10_000, 10_000, zeros), 1000, /^read 10000x10000/)
bounded(
  'a PNG of the largest size that ends early',
  () => pixelsOf(10_000, 10_000, deflateSync(new Uint8Array(100))),
  1000,
  /^bomb: corrupt, truncated/,
)

test('an image of a long side is refused, a narrow one resized within its own memory', () => {
  for (const [width, height] of [
    [70_000, 1],
    [1, 70_000],
    [30_000_000, 1],
  ] as const) {
    const { said } = measure(pixelsOf(width, height, deflateSync(new Uint8Array((3 * width + 1) * height))))
    if (!/too large PNG \(\d+x\d+ pixels\)/.test(said)) throw new Error(`${width}x${height}: it says ${said}`)
  }
  const { said, peak } = measure(pixelsOf(1, 65_000, deflateSync(new Uint8Array(4 * 65_000))))
  if (said !== 'read 1x65000' || !(peak < 400)) throw new Error(`${said}, ${peak} MiB`)
})

test('ends', () => rmSync(folder, { recursive: true }))
run()
