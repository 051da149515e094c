import {
  type Binding,
  bindingDtype,
  branchStrides,
  type Capabilities,
  type Constants,
  ceilDiv,
  grid1d,
  type KernelSpec,
  type Param,
  SCALAR_BYTES,
  type Scalar,
} from '../spec.ts'
import combineSource from './combine.wgsl'
import directSource from './direct.wgsl'
import subgroupSource from './subgroup.wgsl'
import tiledSource from './tiled.wgsl'

/** Where an operand lies in its buffer, in elements: its first element, then strides of three batch dims (0 repeats it). */
export type BatchView = [offset: number, batch0: number, batch1: number, batch2: number]

/** What is done to a product before it is stored, in this order; bits of `flags`. */
export const EPILOGUE = {
  /** + bias[column] */
  bias: 1,
  /** Stored to `pre` as it is now. */
  pre: 2,
  /** gelu(value), the exact (erf) form. */
  gelu: 4,
  /** * gelu'(aux[row, column]) */
  slope: 8,
  /** + aux[row, column]; not with `slope` */
  add: 16,
  /** + what C holds; not with `bias` */
  accumulate: 32,
} as const

/**
 * C[batch] = epilogue(scale * A[batch] B[batch]) over three batch dims, A [m, k] and B [k, n] in any strides. C is contiguous,
 * [splits, batches, m, n]: with several splits these are partial products for `matmulCombine`, and `flags` is 0.
 */
export interface Matmul {
  a: BatchView
  b: BatchView
  bias: BatchView
  aux: BatchView
  m: number
  n: number
  k: number
  /** Product of the three batch sizes. */
  batches: number
  /** Sizes of the second and third batch dim. */
  batch1: number
  batch2: number
  /** Strides of A: from row to row, and along k; of B: along k, and from column to column; of aux: from row to row. */
  aRow: number
  aCol: number
  bRow: number
  bCol: number
  auxRow: number
  /** Rows of C that a workgroup of the `subgroup` variant takes. */
  rows: number
  /** Parts that k is cut into, and the length of one. */
  splits: number
  chunk: number
  /** Of `EPILOGUE`. */
  flags: number
  scale: number
  /** Operands and results in float16; float32 what is left out. Bias and partial products are float32. */
  dtypes?: { readonly [name in Element]?: 'f16' }
}

/** What may be float16. */
export type Element = 'a' | 'b' | 'aux' | 'c' | 'pre'

function dtype(name: Element): (problem: Matmul) => Scalar {
  return ({ dtypes }) => dtypes?.[name] ?? 'f32'
}

/** Declares the element types of the bindings that are float16 in a problem. */
function scalars(bindings: readonly Binding[], problem: Matmul): Constants {
  if (!problem.dtypes) return {}
  const half = bindings.filter((binding) => bindingDtype(binding, problem) === 'f16')
  return Object.fromEntries(half.map(({ name }) => [`Scalar${name[0]!.toUpperCase()}${name.slice(1)}`, 'f16']))
}

const params: readonly Param[] = [
  branchStrides(6),
  ...['a', 'b', 'bias', 'aux'].map((name): Param => ({ name, type: 'u32', length: 4 })),
  ...['m', 'n', 'k', 'batches', 'batch1', 'batch2', 'aRow', 'aCol', 'bRow', 'bCol', 'auxRow'].map(
    (name): Param => ({ name, type: 'u32' }),
  ),
  ...['rows', 'splits', 'chunk', 'flags'].map((name): Param => ({ name, type: 'u32' })),
  { name: 'scale', type: 'f32' },
]

/** Columns of C that a workgroup of the `subgroup` variant takes. */
const SUBGROUP_COLUMNS = 32
/** Elements along k that it takes at a time. */
const SUBGROUP_DEPTH = 64
/** Workgroups of the `subgroup` variant that give the cores of a software device enough to share. */
const ENOUGH = 8
/** Rows of one at most. */
const MAX_ROWS = 512
/** What it does in a pass of its own. */
const LAST_PASS = EPILOGUE.pre | EPILOGUE.gelu | EPILOGUE.slope | EPILOGUE.add
/** Rows and columns of a tile of the `tiled` variant. */
const TILE = 64

/** A few threads make a workgroup where there are few: a software device runs a workgroup on one core. */
function directThreads({ m, n, batches, splits }: Matmul): number {
  return ceilDiv(m, 4) * ceilDiv(n, 4) * batches * splits < 512 ? 8 : 64
}

/** Rows whose sums the `subgroup` variant has room for: few sizes, so that few pipelines are compiled. */
function sumsHeld({ rows }: Matmul): number {
  return rows <= 64 ? 64 : MAX_ROWS
}

function fitsSubgroup(device: Capabilities): boolean {
  return device.subgroupMinSize >= 4
}

const bindings: readonly Binding[] = [
  { name: 'a', access: 'read', dtype: dtype('a'), offset: 'a' },
  { name: 'b', access: 'read', dtype: dtype('b'), offset: 'b' },
  { name: 'bias', access: 'read', dtype: 'f32', offset: 'bias' },
  { name: 'aux', access: 'read', dtype: dtype('aux'), offset: 'aux' },
  { name: 'c', access: 'read_write', dtype: (problem: Matmul) => (problem.splits > 1 ? 'f32' : dtype('c')(problem)) },
  { name: 'pre', access: 'read_write', dtype: dtype('pre') },
]

/** k of each operand contiguous or not, as a number from 1. */
function layout({ aCol, bRow }: Matmul): number {
  return 1 + Number(aCol === 1) + 2 * Number(bRow === 1)
}

export const matmul: KernelSpec<Matmul> = {
  name: 'matmul',
  bindings,
  params,
  variants: [
    {
      name: 'direct',
      source: directSource,
      constants: (problem) => ({ WORKGROUP: directThreads(problem), ...scalars(bindings, problem) }),
      grid: ({ m, n, batches, splits }, { WORKGROUP }) =>
        grid1d(ceilDiv(ceilDiv(m, 4) * ceilDiv(n, 4) * batches * splits, Number(WORKGROUP))),
    },
    {
      name: 'subgroup',
      source: subgroupSource,
      supports: fitsSubgroup,
      constants(problem, device) {
        const narrow = device.subgroupMinSize < 8
        const made = scalars(bindings, problem)
        return {
          NARROW: narrow,
          SUMS: narrow || made.ScalarC ? sumsHeld(problem) : 1,
          // Narrow devices compile in no time and run masked code; the others take seconds and skip it.
          EPILOGUE: narrow ? problem.flags & LAST_PASS : LAST_PASS,
          ...made,
        }
      },
      grid: ({ m, n, rows, batches, splits }) => grid1d(ceilDiv(n, SUBGROUP_COLUMNS) * ceilDiv(m, rows) * batches * splits),
    },
    {
      name: 'tiled',
      source: tiledSource,
      supports: (device) => device.maxInvocations >= 256,
      constants: (problem) => scalars(bindings, problem),
      grid: ({ m, n, batches, splits }) => grid1d(ceilDiv(m, TILE) * ceilDiv(n, TILE) * batches * splits),
    },
  ],
  choose(device) {
    if (device.software) return fitsSubgroup(device) ? 'subgroup' : 'direct'
    return device.maxInvocations >= 256 ? 'tiled' : 'direct'
  },
  shapeClass: (problem) => [problem.m, problem.n, problem.k, problem.batches, layout(problem)],
  flops: ({ m, n, k, batches }) => 2 * m * n * k * batches,
  bytes(problem) {
    const { m, n, k, batches } = problem
    const size = (name: Element) => SCALAR_BYTES[dtype(name)(problem)]
    return batches * (size('a') * m * k + size('b') * k * n + size('c') * m * n)
  },
}

const combineBindings: readonly Binding[] = [
  { name: 'partials', access: 'read', dtype: 'f32' },
  { name: 'bias', access: 'read', dtype: 'f32', offset: 'bias' },
  { name: 'aux', access: 'read', dtype: dtype('aux'), offset: 'aux' },
  { name: 'c', access: 'read_write', dtype: dtype('c') },
  { name: 'pre', access: 'read_write', dtype: dtype('pre') },
]

/** C = epilogue(scale * the sum of partial products); the problem is that of `matmul`. */
export const matmulCombine: KernelSpec<Matmul> = {
  name: 'matmulCombine',
  bindings: combineBindings,
  params,
  variants: [
    {
      name: 'direct',
      source: combineSource,
      constants: (problem) => scalars(combineBindings, problem),
      grid: ({ m, n, batches }) => grid1d(ceilDiv(m * ceilDiv(n, 4) * batches, 64)),
    },
  ],
  shapeClass: ({ m, n, batches, splits }) => [m * n * batches, splits],
  flops: ({ m, n, batches, splits }) => m * n * batches * splits,
  bytes: (problem) => problem.m * problem.n * problem.batches * (4 * problem.splits + SCALAR_BYTES[dtype('c')(problem)]),
}

/**
 * Rows for a workgroup of the `subgroup` variant: many, since it loads its part of B for them, but few enough that all cores
 * have work.
 */
export function rowsPerGroup({ m, n, batches, splits }: Pick<Matmul, 'm' | 'n' | 'batches' | 'splits'>): number {
  const columns = ceilDiv(n, SUBGROUP_COLUMNS) * batches * splits
  const parts = Math.max(ceilDiv(m, MAX_ROWS), Math.min(ceilDiv(ENOUGH, columns), ceilDiv(m, 64)))
  return ceilDiv(m, parts)
}

/** How to cut k so that a small C with a long k fills the device. */
export function splitK(
  device: Capabilities,
  { m, n, k, batches }: Pick<Matmul, 'm' | 'n' | 'k' | 'batches'>,
): Pick<Matmul, 'splits' | 'chunk'> {
  const groups =
    batches * (device.software ? ceilDiv(n, SUBGROUP_COLUMNS) * ceilDiv(m, MAX_ROWS) : ceilDiv(n, TILE) * ceilDiv(m, TILE))
  const wanted = device.software
    ? Math.min(ceilDiv(ENOUGH, groups), Math.floor(k / 512))
    : Math.min(ceilDiv(256, groups), Math.floor(k / 256))
  if (wanted <= 1) return { splits: 1, chunk: k }
  const chunk = SUBGROUP_DEPTH * ceilDiv(k, wanted * SUBGROUP_DEPTH)
  return { splits: ceilDiv(k, chunk), chunk }
}
