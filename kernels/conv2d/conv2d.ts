import { type Capabilities, ceilDiv, grid1d, type KernelSpec, SCALAR_BYTES } from '../spec.ts'
import directSource from './direct.wgsl'
import { bindings, type Conv2d, params, types } from './problem.ts'
import subgroupSource from './subgroup.wgsl'
import tiledSource from './tiled.wgsl'

/** The longest chain of products that a thread of `direct` adds up as it comes. */
const LONG_CHAIN = 48

/** The rows of c that a thread of `direct` computes. */
function rowsHeld({ rows }: Conv2d): number {
  return rows > 1 ? 4 : 1
}

function directThreads(problem: Conv2d): number {
  const { rows, columns, groups, splits } = problem
  return ceilDiv(rows, rowsHeld(problem)) * ceilDiv(columns, 4) * groups * splits
}

/** The elements along depth that a workgroup of `subgroup` takes at a time: as many as leave the fewest past the end. */
const DEPTH = 64
const SHORT_DEPTH = 48

/** The most rows of a workgroup of `subgroup`. */
const ROWS = 256

/** Returns for how many rows `subgroup` holds sums in private memory. There are only two sizes, so that few pipelines are compiled. */
function sumsHeld({ rows }: Conv2d): number {
  return rows <= 64 ? 64 : ROWS
}

function fitsSubgroup(device: Capabilities): boolean {
  return device.subgroupMinSize >= 4
}

/** The rows and columns of a tile, and the elements along depth. */
const TILE = 64
const TILE_DEPTH = 16
/** The longest part of depth of which sums of 48 products are added up as they come. */
const TILED_CHAIN = 48 * LONG_CHAIN

function fitsTiles(device: Capabilities): boolean {
  return device.maxInvocations >= 256 && device.maxWorkgroupMemory >= 2 * TILE_DEPTH * (TILE + 4) * 4
}

/** Whether neighbours in the image are neighbours along depth: pixels are, elements of a kernel hardly. */
function alongDepth({ depthHeight, depthWidth, columnHeight, columnWidth }: Conv2d): boolean {
  return depthHeight * depthWidth > columnHeight * columnWidth
}

/** A software device wants registers, a GPU tiles, unless most of a tile would lie outside. */
function choose(device: Capabilities, { rows, columns }: Conv2d): string {
  if (device.software) return fitsSubgroup(device) && rows > 1 ? 'subgroup' : 'direct'
  return fitsTiles(device) && rows >= 8 && columns >= 8 ? 'tiled' : 'direct'
}

/** The convolution and its gradients, by what `geometry.ts` makes of them. */
export const conv2d: KernelSpec<Conv2d> = {
  name: 'conv2d',
  bindings,
  params,
  variants: [
    {
      name: 'direct',
      source: directSource,
      constants: (problem) => ({
        // A software device runs a workgroup on one core, so where threads are few, few make a workgroup.
        WORKGROUP: directThreads(problem) < 512 ? 8 : 64,
        ROWS: rowsHeld(problem),
        LONG: problem.chunk > LONG_CHAIN,
        ...types(problem),
      }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(directThreads(problem), Number(WORKGROUP))),
    },
    {
      name: 'subgroup',
      source: subgroupSource,
      supports: fitsSubgroup,
      constants(problem, device) {
        const NARROW = device.subgroupMinSize < 8
        const SHORT = ceilDiv(problem.chunk, SHORT_DEPTH) * SHORT_DEPTH < ceilDiv(problem.chunk, DEPTH) * DEPTH
        const LONG = ceilDiv(problem.chunk, SHORT ? SHORT_DEPTH : DEPTH) > LONG_CHAIN
        const made = types(problem)
        return { NARROW, SHORT, LONG, SUMS: NARROW || LONG || made.ScalarC ? sumsHeld(problem) : 1, ...made }
      },
      grid: ({ rows, columns, groups, splits }) => grid1d(ceilDiv(columns, 32) * ceilDiv(rows, ROWS) * groups * splits),
    },
    {
      name: 'tiled',
      source: tiledSource,
      supports: fitsTiles,
      constants: (problem) => ({ ALONG_K: alongDepth(problem), LONG: problem.chunk > TILED_CHAIN, ...types(problem) }),
      grid: ({ rows, columns, groups, splits }) => grid1d(ceilDiv(columns, TILE) * ceilDiv(rows, TILE) * groups * splits),
    },
  ],
  choose,
  shapeClass: ({ rows, columns, depth, groups, depthWidth, columnWidth }) => [
    rows,
    columns,
    depth,
    groups,
    depthWidth,
    columnWidth,
  ],
  flops: ({ rows, columns, depth, groups }) => 2 * rows * columns * depth * groups,
  bytes(problem) {
    const { rows, columns, depth, groups, height, width, dtypes } = problem
    const size = (name: 'a' | 'x' | 'c') => SCALAR_BYTES[dtypes?.[name] ?? 'f32']
    // An element of the image is at least read once, whether by columns or along depth.
    const planes = Math.max(1, problem.xColumn > 0 ? columns / (problem.columnHeight * problem.columnWidth) : 1)
    return groups * (size('a') * rows * depth + size('x') * planes * height * width + size('c') * rows * columns)
  },
}

/** Cuts depth into parts where there are too few columns to fill a device, or so many products that a part would add up too long. */
export function splitDepth(
  device: Capabilities,
  { rows, columns, depth, groups }: Pick<Conv2d, 'rows' | 'columns' | 'depth' | 'groups'>,
): Pick<Conv2d, 'splits' | 'chunk'> {
  const tiles = groups * (device.software ? ceilDiv(columns, 32) : ceilDiv(columns, 64) * ceilDiv(rows, 64))
  const [wanted, shortest] = device.software ? [16, 512] : [256, 256]
  // These variants add up precisely.
  const most = device.software ? SHORT_DEPTH * 32 * LONG_CHAIN : TILED_CHAIN
  const parts = Math.max(Math.min(ceilDiv(wanted, tiles), Math.floor(depth / shortest)), ceilDiv(depth, most))
  if (parts <= 1) return { splits: 1, chunk: Math.max(depth, 1) }
  const chunk = 64 * ceilDiv(depth, parts * 64)
  return { splits: ceilDiv(depth, chunk), chunk }
}
