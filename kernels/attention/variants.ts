import type { Binding, Capabilities, Constants, Grid, KernelSpec, Param, Scalar, Variant } from '../spec.ts'
import { branchStrides, ceilDiv, grid1d, SCALAR_BYTES, scalars } from '../spec.ts'
import { hasOptions, maskParam, optionConstants, optionParams, visiblePairs } from './options.ts'
import type { AttentionShape, RowView } from './shape.ts'

/** The element type of the operands. */
export function operandType({ dtype }: AttentionShape): Scalar {
  return dtype ?? 'f32'
}

/** Bindings of operands, whose views are parameters of the same names. */
export function operands(access: Binding['access'], ...names: readonly string[]): Binding[] {
  return names.map((name) => ({ name, access, dtype: operandType, offset: name }))
}

/** The parameter block: the strides of the branches and the views, which need an alignment of 16 bytes, then the shape and the options. */
export function attentionParams(bindings: number, ...views: string[]): Param[] {
  return [
    branchStrides(bindings),
    ...views.map((name): Param => ({ name, type: 'u32', length: 4 })),
    maskParam,
    ...scalars('u32', 'batch', 'heads', 'queries', 'keys', 'width'),
    ...scalars('f32', 'scale'),
    ...optionParams,
  ]
}

/** The differences of the three kernels: the rows that they are parallel over, and the sources of their variants. */
export interface RowKernel<P extends AttentionShape> {
  /** The number of rows of a head that threads own: of its queries or its keys. */
  rows(problem: P): number
  /** The number of rows of a head on the other side, which each thread passes over. */
  steps(problem: P): number
  /** The name of the constant for the rows on the other side that a workgroup of `subgroupMatrix` takes at a time. */
  step: 'KEYS' | 'QUERIES'
  direct: string
  /** The rows that a step of `direct` adds up. */
  directStep: number
  /** Further constants of `direct`. */
  directConstants?(problem: P): Constants
  subgroup: string
  /** For rows that lie in aligned fours, without options. */
  broadcast?: string
  quad: string
  /** The longest chain of additions of `quad`, where precision costs more than the usual. */
  quadChain?: number
  tiled: string
  /** Further constants of `tiled`. */
  tiledConstants?(problem: P): Constants
  subgroupMatrix: string
  /** The bytes of workgroup memory of `subgroupMatrix` beside rows, scores and weights, for a number of threads. */
  matrixExtra(threads: number): number
  /** The tiles of the other side's rows that `subgroupMatrix` holds, with neighbours along a row, and transposed. */
  matrixTiles: readonly [straight: number, transposed: number]
  /** Whether registers hold two matrices of rows of a subgroup of `subgroupMatrix`. */
  twoMatrices?: boolean
  /** The operands that `subgroupMatrix` loads by eights where all their rows allow it. */
  matrixViews(problem: P): readonly RowView[]
  /** All operands, which `tiled` loads and stores by fours where all their rows allow it. */
  views(problem: P): readonly RowView[]
}

/**
 * `direct` has a thread for each row. `subgroup` is for software devices, `quad` for SwiftShader among them, `broadcast` for the others
 * where rows lie in aligned fours, `tiled` for GPUs, and
 * `subgroupMatrix` for float16 on GPUs with tensor cores.
 */
export function rowVariants<P extends AttentionShape>(kernel: RowKernel<P>): Variant<P>[] {
  const total = (problem: P) => problem.batch * problem.heads * kernel.rows(problem)
  const grid = (problem: P, rowsPerGroup: number): Grid =>
    grid1d(ceilDiv(kernel.rows(problem), rowsPerGroup) * problem.batch * problem.heads)
  const tiledParts = (problem: P, device: Capabilities): number => {
    const few = ceilDiv(kernel.rows(problem), TILED_ROWS) * problem.batch * problem.heads < FEW_GROUPS
    const fits = device.maxInvocations >= 256 && device.maxWorkgroupMemory >= 2 * TILED_MEMORY
    return few && fits && kernel.steps(problem) > TILED_STEPS ? 2 : 1
  }
  return [
    {
      name: 'direct',
      source: kernel.direct,
      // A software device runs a workgroup on one core, so there must be several workgroups.
      constants: (problem) => ({
        WORKGROUP: total(problem) < 512 ? 8 : 64,
        WIDTH: roomFor(problem),
        ...kernel.directConstants?.(problem),
        ...longSums(kernel.steps(problem) / kernel.directStep),
        ...scalar(problem),
        ...optionConstants(problem),
      }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(total(problem), Number(WORKGROUP))),
    },
    {
      name: 'subgroup',
      source: kernel.subgroup,
      supports: fitsSubgroup,
      constants: (problem, device) => subgroupConstants(problem, kernel.rows(problem), kernel.steps(problem), device),
      grid: (problem, { LANES, ROWS }) => grid(problem, Number(LANES) * Number(ROWS)),
    },
    ...(kernel.broadcast !== undefined ? [broadcastVariant(kernel.broadcast, kernel)] : []),
    {
      name: 'quad',
      source: kernel.quad,
      // On other devices `quad` takes seconds to compile.
      supports: (device, problem) => device.gathersPrivate && fitsSubgroup(device, problem),
      constants: (problem, device) => ({
        ...quadConstants(problem, kernel.rows(problem), device),
        ...longSums(kernel.steps(problem) / 4, kernel.quadChain),
      }),
      grid: (problem, { LANES, ROWS }) => grid(problem, Number(LANES) * Number(ROWS)),
    },
    {
      name: 'tiled',
      source: kernel.tiled,
      supports: (_device, problem) => fitsTiles(problem),
      constants: (problem, device) => ({
        SLICES: ceilDiv(problem.width, 32),
        // The sum of a tile is a chain of 32 additions.
        ...longSums(32 + kernel.steps(problem) / 32),
        ...scalar(problem),
        ...(movesBy(4, problem, kernel.views(problem)) && {
          FOURS: true,
          Element: 'vec4<Scalar>',
          Four: 'array<vec4<Scalar>, 1>',
        }),
        ...optionConstants(problem),
        ...kernel.tiledConstants?.(problem),
        ...(tiledParts(problem, device) > 1 && { PARTS: tiledParts(problem, device) }),
      }),
      grid: (problem) => grid(problem, TILED_ROWS),
    },
    matrixVariant('subgroupMatrix', (device, problem) => matrixTile(kernel, device, problem), kernel),
  ]
}

/**
 * The rows of a lane of a `broadcast` kernel, in its two sets. More rows make more of each load; fewer leave fewer lanes idle in the last
 * block. A block costs about as much as three rows and its own. More than 512 elements, of which there are two to four arrays, do not stay
 * in the first cache, and compile for more than ten seconds.
 */
export function broadcastRows(rows: number, lanes: number, problem: AttentionShape): [first: number, second: number] {
  const cost = (own: number) => ceilDiv(rows, lanes * own) * (3 + own)
  const fits = [3, 4, 5, 6, 7, 8].filter((own) => own <= 4 || own * roomFor(problem) <= 512)
  const best = fits.reduce((a, b) => (cost(b) <= cost(a) ? b : a), 2)
  return best <= 4 ? [best, 0] : [Math.ceil(best / 2), Math.floor(best / 2)]
}

/** The constants of a `broadcast` kernel whose lanes own some of so many rows. */
export function broadcastConstants(problem: AttentionShape, rows: number, { subgroupMaxSize: lanes }: Capabilities): Constants {
  const [first, second] = broadcastRows(rows, lanes, problem)
  return {
    LANES: lanes,
    FIRST: first,
    First: `vec${first}<f32>`,
    SECOND: second,
    Second: `vec${second || 2}<f32>`,
    WIDTH: roomFor(problem),
    PADDED: problem.width % 16 !== 0,
  }
}

/** Whether a device runs `broadcast` kernels, on operands with such views: all lanes are one subgroup, and rows lie in aligned fours. */
export function fitsBroadcast(device: Capabilities, problem: AttentionShape, views: readonly RowView[]): boolean {
  const { subgroupMinSize: least, subgroupMaxSize: most } = device
  const fits = least === most && least >= 4 && least <= 16 && problem.width <= 128
  return fits && !problem.dtype && !hasOptions(problem) && movesBy(4, problem, views)
}

/** The most keys of `broadcast`. Its sums are chains of a quarter as many additions and at most 4e-6 off. */
const BROADCAST_KEYS = 1024

function runsBroadcast<P extends AttentionShape>(kernel: RowKernel<P>, device: Capabilities, problem: P): boolean {
  const given = kernel.broadcast !== undefined && kernel.steps(problem) <= BROADCAST_KEYS
  return given && fitsBroadcast(device, problem, kernel.views(problem))
}

function broadcastVariant<P extends AttentionShape>(source: string, kernel: RowKernel<P>): Variant<P> {
  return {
    name: 'broadcast',
    source,
    supports: (device, problem) => runsBroadcast(kernel, device, problem),
    constants: (problem, device) => broadcastConstants(problem, kernel.rows(problem), device),
    grid: (problem, { LANES, FIRST, SECOND }) =>
      grid1d(ceilDiv(kernel.rows(problem), Number(LANES) * (Number(FIRST) + Number(SECOND))) * problem.batch * problem.heads),
  }
}

/** The rows that a workgroup of `tiled` owns, those on the other side that a part of it takes at a time, and the part's bytes of workgroup memory. */
const TILED_ROWS = 64
const TILED_STEPS = 32
const TILED_MEMORY = 13824
/**
 * With fewer workgroups of `tiled` than this, two parts share the rows on the other side: alone on its SIMD a wave waits for most of its time
 * (RDNA 3, by its compiler's code: 64 workgroups take 0.48 of the time with twice the waves). From 192 on, the largest GPU has two for each
 * compute unit.
 */
const FEW_GROUPS = 192

/** Whether all rows of views are made of aligned groups of `count`: the width, all strides and all offsets are multiples of it. */
export function movesBy(count: number, { width }: AttentionShape, views: readonly RowView[]): boolean {
  return width % count === 0 && views.every((view) => view.every((stride) => stride % count === 0))
}

/** The subgroups of a workgroup of `subgroupMatrix`. */
const MATRIX_SUBGROUPS = 4
/** The workgroups that fill a GPU, as for products, and the widest rows of which a subgroup takes two matrices. */
const MATRIX_FILLS = 128
const TWO_MATRICES_WIDTH = 64
/** The rows on the other side that a workgroup of `subgroupMatrix` may take at a time; the first that fit its memory are taken. */
const MATRIX_STEPS = [32, 16] as const
/**
 * The most rows on the other side in one chain of additions. Its rounding error is at most 2e-5, a fraction of that of the float16 results.
 */
const MATRIX_CHAIN = 16384

/** How many rows a workgroup of `subgroupMatrix` owns: its subgroups, and the matrices of 16 rows of each. */
export interface MatrixTile {
  subgroups: number
  matrices: 1 | 2
}

/**
 * The variant for tensor cores, with float16 operands.
 * @param tileOf chooses the tile for a problem
 */
export function matrixVariant<P extends AttentionShape>(
  name: string,
  tileOf: (device: Capabilities, problem: P) => MatrixTile,
  kernel: RowKernel<P>,
): Variant<P> {
  return {
    name,
    source: kernel.subgroupMatrix,
    supports: (device, problem) => fitsMatrices(kernel, tileOf(device, problem), device, problem),
    constants(problem, device) {
      const eights = movesBy(8, problem, kernel.matrixViews(problem))
      const tile = tileOf(device, problem)
      return {
        LANES: device.subgroupMaxSize,
        SUBGROUPS: tile.subgroups,
        ...(kernel.twoMatrices && { MATRICES: tile.matrices }),
        [kernel.step]: matrixStep(kernel, tile, device, problem) ?? MATRIX_STEPS[0],
        WIDTH: roomFor(problem),
        UNIT: eights ? 8 : 1,
        PADDED: problem.width % 16 !== 0,
        ...longSums(kernel.steps(problem), MATRIX_CHAIN),
      }
    },
    grid: (problem, { SUBGROUPS, MATRICES = 1 }) =>
      grid1d(ceilDiv(kernel.rows(problem), 16 * Number(SUBGROUPS) * Number(MATRICES)) * problem.batch * problem.heads),
  }
}

/**
 * Chooses the matrices of a subgroup. Two load the other side's matrices once for both, and so spend fewer instructions beside multiplying, if
 * registers hold them, workgroup memory does, no more rows are idle, and there are enough workgroups.
 */
function matrixTile<P extends AttentionShape>(kernel: RowKernel<P>, device: Capabilities, problem: P): MatrixTile {
  const [one, two] = ([1, 2] as const).map((matrices): MatrixTile => ({ subgroups: MATRIX_SUBGROUPS, matrices }))
  const blocks = ({ subgroups, matrices }: MatrixTile) => ceilDiv(kernel.rows(problem), 16 * subgroups * matrices)
  const fills = blocks(two!) * problem.batch * problem.heads >= MATRIX_FILLS && 2 * blocks(two!) === blocks(one!)
  return kernel.twoMatrices && fills && problem.width <= TWO_MATRICES_WIDTH && fitsMatrices(kernel, two!, device, problem)
    ? two!
    : one!
}

/** The rows on the other side that a workgroup takes at a time, or undefined where its memory holds none. */
function matrixStep<P extends AttentionShape>(kernel: RowKernel<P>, tile: MatrixTile, device: Capabilities, problem: P) {
  const rows = 16 * tile.subgroups
  const width = roomFor(problem)
  const [straight, transposed] = kernel.matrixTiles
  return MATRIX_STEPS.find((step) => {
    const tiles = 2 * Math.max(straight * step * (width + 8) + transposed * width * (step + 8), rows * (width + 8))
    const scores = rows * tile.matrices * (4 * (step + 4) + 2 * (step + 8))
    return tiles + scores + kernel.matrixExtra(tile.subgroups * device.subgroupMaxSize) <= device.maxWorkgroupMemory
  })
}

/** Whether a device runs the variant for tensor cores with workgroups of a size. */
function fitsMatrices<P extends AttentionShape>(kernel: RowKernel<P>, tile: MatrixTile, device: Capabilities, problem: P) {
  const { subgroupMaxSize: lanes, maxInvocations } = device
  const fits = lanes % (16 * tile.matrices) === 0 && tile.subgroups * lanes <= maxInvocations
  const takes = problem.dtype === 'f16' && problem.width <= 128 && !hasOptions(problem)
  return device.subgroupMatrix && fits && takes && matrixStep(kernel, tile, device, problem) !== undefined
}

/**
 * The variant for a device. A lane of the subgroup variant owns rows of one head only, so few rows leave most lanes idle, whereas
 * `direct` puts rows of all heads side by side. Few rows also leave most of a workgroup of matrices idle.
 */
export function chooseVariant<P extends AttentionShape>(kernel: RowKernel<P>, device: Capabilities, problem: P, few: boolean) {
  if (device.software) {
    if (few || !fitsSubgroup(device, problem)) return 'direct'
    // `broadcast` takes 1.0 to 1.3 of the time of `quad` on SwiftShader, and 0.55 to 0.75 of that of `subgroup` on lavapipe. Forward,
    // `ownedKeys` comes before `quad`.
    if (device.gathersPrivate) return 'quad'
    return runsBroadcast(kernel, device, problem) ? 'broadcast' : 'subgroup'
  }
  // A subgroup multiplies 16 rows whether they are there or not. `tiled` loads keys with all its threads, and where rows are few, waves
  // without any skip the products, so few rows are no reason for `direct`, whose threads load every key by themselves.
  const enough = !few && kernel.rows(problem) >= 16
  if (enough && fitsMatrices(kernel, matrixTile(kernel, device, problem), device, problem)) return 'subgroupMatrix'
  return fitsTiles(problem) ? 'tiled' : 'direct'
}

/** Whether the subgroup variant runs: it needs subgroups of 4 or more, a workgroup for the largest, and arrays that compile in seconds. */
function fitsSubgroup(device: Capabilities, { width }: AttentionShape): boolean {
  return device.subgroupMinSize >= 4 && device.subgroupMaxSize <= device.maxInvocations && width <= 128
}

/** The width rounded up, so that few pipelines are compiled. */
export function roomFor({ width }: AttentionShape): number {
  return 16 * ceilDiv(width, 16)
}

/** The longest chain of additions that is left as it is. Its rounding error is at most 1e-6. */
const LONG_CHAIN = 64

/** Makes a kernel add up with compensation where one chain of additions is longer than it may be. */
function longSums(chain: number, longest = LONG_CHAIN): Constants {
  return chain > longest ? { LONG: true } : {}
}

function scalar({ dtype }: AttentionShape): Constants {
  return dtype ? { Scalar: dtype } : {}
}

function quadConstants(problem: AttentionShape, rows: number, { subgroupMaxSize: lanes }: Capabilities): Constants {
  const owned = rowsPerLane(rows, lanes)
  return {
    LANES: lanes,
    ROWS: owned,
    Rows: `vec${owned}<f32>`,
    Bits: `vec${owned}<u32>`,
    WIDTH: roomFor(problem),
    PADDED: problem.width % 16 !== 0,
    ...scalar(problem),
    ...optionConstants(problem),
  }
}

function subgroupConstants(problem: AttentionShape, rows: number, steps: number, device: Capabilities): Constants {
  const lanes = device.subgroupMaxSize
  const narrow = device.subgroupMinSize < 8
  const owned = rowsPerLane(rows, lanes)
  // Narrow subgroups do every step in full, and a step costs about as much as two rows more than it has.
  const step = !narrow || 18 * ceilDiv(steps, 16) < 10 * ceilDiv(steps, 8) ? 16 : 8
  return {
    LANES: lanes,
    NARROW: narrow,
    ROWS: owned,
    Rows: `vec${owned}<f32>`,
    Bits: `vec${owned}<u32>`,
    WIDTH: roomFor(problem),
    PADDED: problem.width % 4 !== 0,
    STEP: step,
    // The sum of a step is a chain of 8 additions.
    ...longSums(8 + steps / step),
    ...scalar(problem),
    ...optionConstants(problem),
  }
}

/**
 * The rows that a lane of the subgroup variant owns. More rows make more of each load; fewer leave fewer lanes idle in the last
 * workgroup of a head. As measured on both software drivers, a workgroup costs about as much as two rows and its own rows.
 */
function rowsPerLane(total: number, lanes: number): number {
  const cost = (rows: number) => ceilDiv(total, lanes * rows) * (2 + rows)
  return [2, 3, 4].reduce((best, rows) => (cost(rows) < cost(best) ? rows : best))
}

/**
 * Whether the tiled variant takes the width. For each 32 of it, a thread accumulates 16 numbers, or 32 for the gradients of keys and
 * values.
 */
function fitsTiles({ width }: AttentionShape): boolean {
  return width <= 256
}

/**
 * Makes the `flops` of a spec that computes a number of products of [Tq, Dh] with [Dh, Tk], or of their size, for each head, without what
 * a causal mask hides.
 */
export function productFlops(products: number): KernelSpec<AttentionShape>['flops'] {
  return (problem) => 2 * products * problem.batch * problem.heads * visiblePairs(problem) * problem.width
}

/** Makes the `bytes` of a spec with a number of operands [B, H, Tq, Dh], and of operands [B, H, Tk, Dh]. */
export function operandBytes(ofQueries: number, ofKeys: number): KernelSpec<AttentionShape>['bytes'] {
  return (problem) => {
    const { batch, heads, queries, keys, width } = problem
    return SCALAR_BYTES[operandType(problem)] * batch * heads * width * (ofQueries * queries + ofKeys * keys)
  }
}
