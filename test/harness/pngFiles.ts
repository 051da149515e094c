import { deflateSync } from 'node:zlib'
import { crc32 } from '../../train/data/png.ts'

/** Number of samples of a pixel, by PNG's colour type. */
export const PNG_SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

/** The content of a PNG file. */
export interface PngParts {
  width: number
  height: number
  /** Bits of a sample: 1, 2, 4, 8 or 16. */
  depth: number
  /** 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha. */
  colorType: number
  interlaced?: boolean
  /** Samples [height, width, samples of a pixel]. */
  samples: ArrayLike<number>
  /** RGB triples, for colour type 3. */
  palette?: readonly number[]
  /** Content of the tRNS chunk. */
  transparency?: readonly number[]
  /** The width and height in the header, where they differ from the real ones. */
  size?: readonly [number, number]
  /** Further chunks before the pixels. */
  chunks?: readonly (readonly [type: string, data: Uint8Array])[]
}

/** The passes of Adam7: first column, first row, distance of columns, distance of rows. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const

/** A PNG file whose rows use the five filters in turn. */
export function encodePng(parts: PngParts): Uint8Array {
  const {
    width,
    height,
    depth,
    colorType,
    interlaced = false,
    palette,
    transparency,
    size = [width, height],
    chunks = [],
  } = parts
  const header = new Uint8Array(13)
  const view = new DataView(header.buffer)
  view.setUint32(0, size[0])
  view.setUint32(4, size[1])
  header.set([depth, colorType, 0, 0, interlaced ? 1 : 0], 8)
  const passes = interlaced ? ADAM7 : [[0, 0, 1, 1] as const]
  const rows = passes.flatMap(([x0, y0, dx, dy]) => filteredRows(parts, x0, y0, dx, dy))
  return pngOf([
    ['IHDR', header],
    ...chunks,
    ...(palette ? [['PLTE', Uint8Array.from(palette)] as const] : []),
    ...(transparency ? [['tRNS', Uint8Array.from(transparency)] as const] : []),
    ['IDAT', deflateSync(Uint8Array.from(rows.flat()))],
    ['IEND', new Uint8Array(0)],
  ])
}

/** A PNG file of these chunks. */
export function pngOf(chunks: readonly (readonly [type: string, data: Uint8Array])[]): Uint8Array {
  const parts = chunks.map(([type, data]) => {
    const chunk = Buffer.alloc(12 + data.length)
    chunk.writeUInt32BE(data.length)
    chunk.write(type, 4, 'latin1')
    chunk.set(data, 8)
    chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length)
    return chunk
  })
  return new Uint8Array(Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), ...parts]))
}

/** The rows of a pass; each begins with the number of its filter. */
function filteredRows({ width, height, depth, colorType, samples }: PngParts, x0: number, y0: number, dx: number, dy: number) {
  const perPixel = PNG_SAMPLES[colorType]!
  const step = Math.max(1, (perPixel * depth) >> 3)
  const rows: number[][] = []
  let previous: number[] = []
  for (let y = y0; y < height && x0 < width; y += dy) {
    const row: number[] = []
    for (let x = x0; x < width; x += dx) {
      for (let s = 0; s < perPixel; s++) row.push(samples[(y * width + x) * perPixel + s]!)
    }
    const bytes = packed(row, depth)
    const filter = rows.length % 5
    rows.push([filter, ...bytes.map((byte, i) => (byte - predicted(filter, bytes, previous, i, step)) & 255)])
    previous = bytes
  }
  return rows
}

/** The samples of a row as bytes. */
function packed(row: readonly number[], depth: number): number[] {
  if (depth === 16) return row.flatMap((value) => [value >> 8, value & 255])
  if (depth === 8) return [...row]
  const out = new Array<number>(Math.ceil((row.length * depth) / 8)).fill(0)
  for (const [i, value] of row.entries()) out[(i * depth) >> 3]! |= value << (8 - depth - ((i * depth) & 7))
  return out
}

/** The value that a filter predicts for byte `i` of a row. */
function predicted(filter: number, row: readonly number[], previous: readonly number[], i: number, step: number): number {
  const [left, up, corner] = [row[i - step] ?? 0, previous[i] ?? 0, (i < step ? 0 : previous[i - step]) ?? 0]
  if (filter < 3) return [0, left, up][filter]!
  if (filter === 3) return (left + up) >> 1
  const estimate = left + up - corner
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)]
  return a <= b && a <= c ? left : b <= c ? up : corner
}
