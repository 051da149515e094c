import { type AxisView, threadsFor } from '../axisView.ts'
import { type Capabilities, ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import direct from './direct.wgsl'
import workgroup from './workgroup.wgsl'

/** Running sums along n of [outer, n, inner], from its end where `reverse` is set, in `chunks` pieces of `chunk` elements. */
export interface CumsumProblem extends AxisView {
  chunk: number
  chunks: number
  reverse: boolean
}

/**
 * y[j] = x[0] + … + x[j] along the middle axis of [outer, n, inner], or x[j] + … + x[n - 1] in reverse. Pieces of a line are summed side
 * by side. `sums` [outer, chunks, inner] are the running sums of the pieces' sums in the same direction; with one piece they are not
 * read.
 */
export const cumsum = specFor('f32')
/** The running sums of int32, which wrap around. */
export const cumsumInt = specFor('i32')

/** The elements of a block of the `direct` variant. */
const BLOCK = 16
/** The elements of a tile of the `workgroup` variant. */
const TILE = 1024

function specFor(dtype: 'f32' | 'i32'): KernelSpec<CumsumProblem> {
  return {
    name: dtype === 'f32' ? 'cumsum' : 'cumsumInt',
    bindings: [...reads(dtype, 'x', 'sums'), ...writes(dtype, 'y')],
    params: scalars('u32', 'outer', 'n', 'inner', 'chunk', 'chunks'),
    variants: [
      {
        name: 'direct',
        source: direct,
        constants: ({ outer, inner, chunk, chunks, reverse }) => {
          const lineVec = inner % 4 === 0 ? 4 : 1
          return {
            Element: lineVec === 4 ? `vec4<${dtype}>` : dtype,
            WORKGROUP: threadsFor((outer * chunks * inner) / lineVec),
            LINE_VEC: lineVec,
            BLOCKS: chunk > BLOCK,
            PIECES: chunks > 1,
            REVERSE: reverse,
          }
        },
        grid: ({ outer, inner, chunks }, { LINE_VEC, WORKGROUP }) =>
          grid1d(ceilDiv((outer * chunks * inner) / Number(LINE_VEC), Number(WORKGROUP))),
      },
      {
        name: 'workgroup',
        source: workgroup,
        constants: ({ n, inner, chunk, chunks, reverse }) => ({
          Scalar: dtype,
          ...(inner === 1 &&
            n % 4 === 0 &&
            chunk % 4 === 0 && { VEC: 4, Element: `vec4<${dtype}>`, Four: `array<vec4<${dtype}>, 1>` }),
          TILES: chunk > TILE,
          PIECES: chunks > 1,
          REVERSE: reverse,
        }),
        grid: ({ outer, inner, chunks }) => grid1d(outer * chunks * inner),
      },
    ],
    choose,
    flops: ({ outer, n, inner }) => outer * n * inner,
    bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
  }
}

/**
 * The length of the pieces of lines: there are as many pieces as keep the device busy, one where the lines alone do.
 * @returns a multiple of TILE, or n
 */
export function cumsumChunk(device: Capabilities, { outer, n, inner }: AxisView): number {
  const alone = outer * (device.software && inner % 4 === 0 ? inner / 4 : inner)
  const [wanted, shortest] = device.software ? [128, 8192] : [1024, 8192]
  const pieces = Math.min(ceilDiv(wanted, alone), Math.floor(n / shortest))
  return alone * 2 > wanted || pieces < 2 ? n : Math.min(n, TILE * ceilDiv(n, pieces * TILE))
}

function choose(device: Capabilities, { outer, n, inner }: CumsumProblem): string {
  if (device.software || n <= 64) return 'direct'
  // Neighbouring threads read neighbouring lines coalesced, where there are enough lines to fill the device.
  return inner >= 32 && outer * inner >= 4096 ? 'direct' : 'workgroup'
}
