import {
  branchStrides,
  type Capabilities,
  type Constants,
  ceilDiv,
  type Grid,
  grid1d,
  type KernelSpec,
  type Param,
  SCALAR_BYTES,
  type Scalar,
  type Variant,
} from '../spec.ts'

/** A [B, H, T, Dh] operand in its buffer, in elements; neighbours along Dh are adjacent. */
export type RowView = [offset: number, batch: number, head: number, token: number]

/** Sizes of attention: [batch, heads, queries, width] over [batch, heads, keys, width]. */
export interface AttentionShape {
  batch: number
  heads: number
  queries: number
  keys: number
  /** Dh, elements of a head's row. */
  width: number
  /** Factor of the scores, usually width ** -0.5. */
  scale: number
  /** Of all operands and their gradients; float32 if left out. Log-sum-exps and deltas are float32. */
  dtype?: 'f16'
}

/** Element type of the operands. */
export function operandType({ dtype }: AttentionShape): Scalar {
  return dtype ?? 'f32'
}

/** The parameter block: what needs 16-byte alignment (strides of the branches, views), then the shape. */
export function attentionParams(bindings: number, ...views: string[]): Param[] {
  return [
    branchStrides(bindings),
    ...views.map((name): Param => ({ name, type: 'u32', length: 4 })),
    { name: 'batch', type: 'u32' },
    { name: 'heads', type: 'u32' },
    { name: 'queries', type: 'u32' },
    { name: 'keys', type: 'u32' },
    { name: 'width', type: 'u32' },
    { name: 'scale', type: 'f32' },
  ]
}

/** What the three kernels share: which rows they are parallel over, and the sources of their variants. */
interface RowKernel<P extends AttentionShape> {
  /** Rows of a head that threads own: its queries or its keys. */
  rows(problem: P): number
  /** Rows of a head on the other side, which each thread passes over. */
  steps(problem: P): number
  direct: string
  /** Rows that a step of it adds up. */
  directStep: number
  /** Further constants of it. */
  directConstants?(problem: P): Constants
  subgroup: string
  quad: string
  /** The longest chain of additions of `quad`, where precision costs more than the usual. */
  quadChain?: number
  tiled: string
}

/** `direct`: a thread a row. `subgroup`: software devices. `quad`: the same for SwiftShader. `tiled`: GPUs. */
export function rowVariants<P extends AttentionShape>(kernel: RowKernel<P>): Variant<P>[] {
  const total = (problem: P) => problem.batch * problem.heads * kernel.rows(problem)
  const grid = (problem: P, rowsPerGroup: number): Grid =>
    grid1d(ceilDiv(kernel.rows(problem), rowsPerGroup) * problem.batch * problem.heads)
  return [
    {
      name: 'direct',
      source: kernel.direct,
      // A software device runs a workgroup on one core: there must be several.
      constants: (problem) => ({
        WORKGROUP: total(problem) < 512 ? 8 : 64,
        WIDTH: roomFor(problem),
        ...kernel.directConstants?.(problem),
        ...longSums(kernel.steps(problem) / kernel.directStep),
        ...scalar(problem),
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
    {
      name: 'quad',
      source: kernel.quad,
      // Elsewhere it takes seconds to compile.
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
      constants: (problem) => ({
        SLICES: ceilDiv(problem.width, 32),
        // A tile's sum has a chain of 8.
        ...longSums(8 + kernel.steps(problem) / 32),
        ...scalar(problem),
      }),
      grid: (problem) => grid(problem, 32),
    },
  ]
}

/**
 * The variant for a device: a lane of the subgroup variant owns rows of one head only, so few rows leave most lanes idle,
 * where `direct` puts rows of all heads side by side.
 */
export function chooseVariant(device: Capabilities, problem: AttentionShape, few: boolean): string {
  if (device.software) {
    if (few || !fitsSubgroup(device, problem)) return 'direct'
    return device.gathersPrivate ? 'quad' : 'subgroup'
  }
  return fitsTiles(problem) ? 'tiled' : 'direct'
}

/** Subgroups of at least a quad, a workgroup of one whole subgroup, and private arrays that compile in seconds. */
function fitsSubgroup(device: Capabilities, { width }: AttentionShape): boolean {
  return device.subgroupMinSize >= 4 && device.subgroupMaxSize <= device.maxInvocations && width <= 128
}

/** The width rounded up, so that few pipelines are compiled. */
export function roomFor({ width }: AttentionShape): number {
  return 16 * ceilDiv(width, 16)
}

/** The longest chain of additions that is left as it is: it is at most 1e-6 off. */
const LONG_CHAIN = 64

/** What makes a kernel add up precisely where its code for few rows would have so long a chain of additions. */
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
  }
}

function subgroupConstants(problem: AttentionShape, rows: number, steps: number, device: Capabilities): Constants {
  const lanes = device.subgroupMaxSize
  const narrow = device.subgroupMinSize < 8
  const owned = rowsPerLane(rows, lanes)
  // Narrow subgroups take whole steps; one costs about as much as two rows more than it has.
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
    // A step's sum has a chain of 8.
    ...longSums(8 + steps / step),
    ...scalar(problem),
  }
}

/**
 * Rows that a lane of the subgroup variant owns: more make more of each load, fewer leave fewer lanes idle in the last
 * workgroup of a head. A workgroup costs about as much as two rows, and each of its rows (measured on both software drivers).
 */
function rowsPerLane(total: number, lanes: number): number {
  const cost = (rows: number) => ceilDiv(total, lanes * rows) * (2 + rows)
  return [2, 3, 4].reduce((best, rows) => (cost(rows) < cost(best) ? rows : best))
}

/** A thread of the tiled variant accumulates 16 numbers, of the gradient of keys and values 32, for each 32 of the width. */
function fitsTiles({ width }: AttentionShape): boolean {
  return width <= 256
}

/** A spec's `flops` for a number of products of [Tq, Dh] with [Tk, Dh] (or alike). */
export function productFlops(products: number): KernelSpec<AttentionShape>['flops'] {
  return ({ batch, heads, queries, keys, width }) => 2 * products * batch * heads * queries * keys * width
}

/** A spec's `bytes` for a number of operands of query and of key rows. */
export function operandBytes(ofQueries: number, ofKeys: number): KernelSpec<AttentionShape>['bytes'] {
  return (problem) => {
    const { batch, heads, queries, keys, width } = problem
    return SCALAR_BYTES[operandType(problem)] * batch * heads * width * (ofQueries * queries + ofKeys * keys)
  }
}
