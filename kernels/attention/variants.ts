import {
  type Capabilities,
  type Constants,
  ceilDiv,
  type Grid,
  grid1d,
  type KernelSpec,
  type Param,
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
}

/** The parameter block: views (they need 16-byte alignment), then the shape. */
export function attentionParams(...views: string[]): Param[] {
  return [
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
  direct: string
  subgroup: string
  tiled: string
}

/** Threads of a workgroup of the tiled variant. */
const TILED_THREADS = 64
/** Vectors of 4 that a thread of the tiled variant holds of each row: what two to four such arrays leave of its registers. */
const TILED_PART = 8

/** `direct`: a thread a row. `subgroup`: software devices. `tiled`: GPUs. */
export function rowVariants<P extends AttentionShape>(kernel: RowKernel<P>): Variant<P>[] {
  const total = (problem: P) => problem.batch * problem.heads * kernel.rows(problem)
  const grid = (problem: P, rowsPerGroup: number): Grid =>
    grid1d(ceilDiv(kernel.rows(problem), rowsPerGroup) * problem.batch * problem.heads)
  return [
    {
      name: 'direct',
      source: kernel.direct,
      // A software device runs a workgroup on one core: there must be several.
      constants: (problem) => ({ WORKGROUP: total(problem) < 512 ? 8 : 64 }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(total(problem), Number(WORKGROUP))),
    },
    {
      name: 'subgroup',
      source: kernel.subgroup,
      supports: hasQuads,
      constants: subgroupConstants,
      grid: (problem, { LANES, ROWS }) => grid(problem, Number(LANES) * Number(ROWS)),
    },
    {
      name: 'tiled',
      source: kernel.tiled,
      supports: (device, problem) => tiledBytes(problem) <= device.maxWorkgroupMemory,
      constants: tiledConstants,
      grid: (problem, { SPLIT }) => grid(problem, TILED_THREADS / Number(SPLIT)),
    },
  ]
}

/**
 * The variant for a device: a lane of the subgroup variant owns rows of one head only, so few rows leave most lanes idle,
 * where `direct` puts rows of all heads side by side.
 */
export function chooseVariant(device: Capabilities, problem: AttentionShape, few: boolean): string {
  if (device.software) return few || !hasQuads(device) ? 'direct' : 'subgroup'
  return tiledBytes(problem) <= device.maxWorkgroupMemory ? 'tiled' : 'direct'
}

/** Subgroups of at least a quad, and a workgroup of one whole subgroup. */
function hasQuads(device: Capabilities): boolean {
  return device.subgroupMinSize >= 4 && device.subgroupMaxSize <= device.maxInvocations
}

function subgroupConstants({ width }: AttentionShape, device: Capabilities): Constants {
  // 16 rows a workgroup: more reuse of a load would be idle lanes at the 17 to 65 tokens of small images.
  const rows = device.subgroupMaxSize <= 4 ? 4 : 2
  return {
    LANES: device.subgroupMaxSize,
    NARROW: device.subgroupMinSize < 8,
    ROWS: rows,
    Rows: `vec${rows}<f32>`,
    WIDTH: Math.max(16, 2 ** Math.ceil(Math.log2(width))),
    PADDED: width % 4 !== 0,
  }
}

function tiledConstants({ width }: AttentionShape): Constants {
  const vectors = ceilDiv(width, 4)
  const split = 2 ** Math.ceil(Math.log2(ceilDiv(vectors, TILED_PART)))
  return {
    WORKGROUP: TILED_THREADS,
    SPLIT: split,
    PART: ceilDiv(vectors, split),
    TILE: width <= 64 ? 16 : 8,
  }
}

function tiledBytes(problem: AttentionShape): number {
  const { SPLIT, PART, TILE } = tiledConstants(problem)
  const tiles = 2 * Number(TILE) * Number(SPLIT) * Number(PART) * 16
  const partial = 8 * TILED_THREADS * 8
  return tiles + partial + Number(TILE) * 8
}

/** A spec's `flops` for a number of products of [Tq, Dh] with [Tk, Dh] (or alike). */
export function productFlops(products: number): KernelSpec<AttentionShape>['flops'] {
  return ({ batch, heads, queries, keys, width }) => 2 * products * batch * heads * queries * keys * width
}

/** A spec's `bytes` for a number of operands of query and of key rows. */
export function operandBytes(ofQueries: number, ofKeys: number): KernelSpec<AttentionShape>['bytes'] {
  return ({ batch, heads, queries, keys, width }) => 4 * batch * heads * width * (ofQueries * queries + ofKeys * keys)
}
