import { type Capabilities, ceilDiv, grid1d, type KernelSpec, SCALAR_BYTES } from '../spec.ts'
import broadcastSource from './broadcast.wgsl'
import combineSource from './combine.wgsl'
import directSource from './direct.wgsl'
import type { Element, Matmul } from './problem.ts'
import { bindings, combineBindings, dtype, EPILOGUE, isLong, params, storeConstants } from './problem.ts'
import subgroupSource from './subgroup.wgsl'
import { matrixVariants } from './subgroupMatrix.ts'
import { tiledVariants } from './tiled.ts'
import { chooseTiles, operandLoads } from './tiles.ts'

/** The columns of C that a workgroup of the `subgroup` variant takes. */
const SUBGROUP_COLUMNS = 32
/** The elements along k that a workgroup takes at a time. */
const SUBGROUP_DEPTH = 64
/** The number of workgroups of the `subgroup` variant that gives the cores of a software device enough to share. */
const ENOUGH = 8
/** The most rows of C that a workgroup of the `subgroup` variant takes. */
const MAX_ROWS = 512
/** The steps of the epilogue that the `subgroup` variant does in a pass of their own. */
const LAST_PASS = EPILOGUE.pre | EPILOGUE.gelu | EPILOGUE.geluGrad | EPILOGUE.add
/** The elements of a chunk of a long k, and the most elements of partial products. */
const PRECISE = 1024
const MAX_PARTIALS = 1 << 23
/** The rows and columns of the smallest tiles of the GPU variants. */
const TILE = 64

/** A software device runs a workgroup on one core, so where threads are few, few make a workgroup. */
function directThreads({ m, n, batches, splits }: Matmul): number {
  return ceilDiv(m, 4) * ceilDiv(n, 4) * batches * splits < 512 ? 8 : 64
}

/** Returns for how many rows the `subgroup` variant holds sums. There are only two sizes, so that few pipelines are compiled. */
function sumsHeld({ rows }: Matmul): number {
  return rows <= 64 ? 64 : MAX_ROWS
}

function fitsSubgroup(device: Capabilities): boolean {
  return device.subgroupMinSize >= 4
}

/** Whether the `broadcast` variant runs: A lies along k in aligned fours. */
function fitsBroadcast(device: Capabilities, problem: Matmul): boolean {
  const { ALONG_K_A, FOURS_A } = operandLoads(problem)
  return fitsSubgroup(device) && ALONG_K_A === true && FOURS_A === true
}

/** Returns the threads of a workgroup of the `broadcast` variant, which lie in one subgroup. */
function broadcastLanes({ subgroupMinSize }: Capabilities): number {
  if (subgroupMinSize < 8) return 4
  return subgroupMinSize < 16 ? 8 : 16
}

/** Whether each operand is contiguous along k, as a number from 1 to 4. */
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
      constants: (problem) => ({
        WORKGROUP: directThreads(problem),
        LONG: isLong(problem),
        ...storeConstants(bindings, problem),
      }),
      grid: ({ m, n, batches, splits }, { WORKGROUP }) =>
        grid1d(ceilDiv(ceilDiv(m, 4) * ceilDiv(n, 4) * batches * splits, Number(WORKGROUP))),
    },
    {
      name: 'subgroup',
      source: subgroupSource,
      supports: fitsSubgroup,
      constants(problem, device) {
        const narrow = device.subgroupMinSize < 8
        const made = storeConstants(bindings, problem)
        return {
          NARROW: narrow,
          SUMS: narrow || made.ScalarC ? sumsHeld(problem) : 1,
          // Devices with narrow subgroups compile in no time but run masked code. The others take seconds to compile and skip it.
          EPILOGUE: narrow ? problem.flags & LAST_PASS : LAST_PASS,
          ...made,
        }
      },
      grid: ({ m, n, rows, batches, splits }) => grid1d(ceilDiv(n, SUBGROUP_COLUMNS) * ceilDiv(m, rows) * batches * splits),
    },
    {
      name: 'broadcast',
      source: broadcastSource,
      supports: fitsBroadcast,
      constants(problem, device) {
        const lanes = broadcastLanes(device)
        const made = storeConstants(bindings, problem)
        const narrow = lanes < 8
        return {
          LANES: lanes,
          SUMS: narrow || made.ScalarC ? sumsHeld(problem) : 1,
          EPILOGUE: narrow ? problem.flags & LAST_PASS : LAST_PASS,
          ...made,
        }
      },
      grid: ({ m, n, rows, batches, splits }, { LANES }) =>
        grid1d(ceilDiv(n, 4 * Number(LANES)) * ceilDiv(m, rows) * batches * splits),
    },
    ...Object.values(tiledVariants),
    ...Object.values(matrixVariants),
  ],
  choose(device, problem) {
    if (device.software) {
      // Lavapipe: a ViT-block step, whose products along k take this, is 1.15 times as fast as with `subgroup` alone, at subgroups of 8.
      // SwiftShader was not measured.
      if (!device.gathersPrivate && fitsBroadcast(device, problem)) return 'broadcast'
      return fitsSubgroup(device) ? 'subgroup' : 'direct'
    }
    return chooseTiles(device, problem, matrixVariants) ?? chooseTiles(device, problem, tiledVariants) ?? 'direct'
  },
  shapeClass: (problem) => [problem.m, problem.n, problem.k, problem.batches, layout(problem)],
  flops: ({ m, n, k, batches }) => 2 * m * n * k * batches,
  bytes(problem) {
    const { m, n, k, batches } = problem
    const size = (name: Element) => SCALAR_BYTES[dtype(name)(problem)]
    return batches * (size('a') * m * k + size('b') * k * n + size('c') * m * n)
  },
}

/** c [batches, m, n] = epilogue(the sum of partials [splits, batches, m, n]). The problem is that of `matmul`. */
export const matmulCombine: KernelSpec<Matmul> = {
  name: 'matmulCombine',
  bindings: combineBindings,
  params,
  variants: [
    {
      name: 'direct',
      source: combineSource,
      constants: (problem) => ({
        ...(problem.n % 4 === 0 && { PARTIALS_VEC: 4, Partials: 'vec4<f32>' }),
        ...storeConstants(combineBindings, problem),
      }),
      grid: ({ m, n, batches }) => grid1d(ceilDiv(m * ceilDiv(n, 4) * batches, 64)),
    },
  ],
  shapeClass: ({ m, n, batches, splits }) => [m * n * batches, splits],
  flops: ({ m, n, batches, splits }) => m * n * batches * splits,
  bytes: (problem) => problem.m * problem.n * problem.batches * (4 * problem.splits + SCALAR_BYTES[dtype('c')(problem)]),
}

/** The rows for a workgroup of the `subgroup` variant: many, since it loads its part of B for them, but so few that all cores have work. */
export function rowsPerGroup({ m, n, batches, splits }: Pick<Matmul, 'm' | 'n' | 'batches' | 'splits'>): number {
  const columns = ceilDiv(n, SUBGROUP_COLUMNS) * batches * splits
  const parts = Math.max(ceilDiv(m, MAX_ROWS), Math.min(ceilDiv(ENOUGH, columns), ceilDiv(m, 64)))
  return ceilDiv(m, parts)
}

/** Cuts k so that a small C with a long k fills the device, and so that a very long k is added up precisely. */
export function splitK(
  device: Capabilities,
  { m, n, k, batches }: Pick<Matmul, 'm' | 'n' | 'k' | 'batches'>,
): Pick<Matmul, 'splits' | 'chunk'> {
  const groups =
    batches * (device.software ? ceilDiv(n, SUBGROUP_COLUMNS) * ceilDiv(m, MAX_ROWS) : ceilDiv(n, TILE) * ceilDiv(m, TILE))
  const wanted = device.software
    ? Math.min(ceilDiv(ENOUGH, groups), Math.floor(k / 512))
    : Math.min(ceilDiv(256, groups), Math.floor(k / 256))
  // Rounding errors grow along a chunk. The partial products are added up in levels.
  const precise = isLong({ k }) ? Math.min(ceilDiv(k, PRECISE), Math.floor(MAX_PARTIALS / (m * n * batches))) : 1
  const parts = Math.max(wanted, precise)
  if (parts <= 1) return { splits: 1, chunk: k }
  const chunk = SUBGROUP_DEPTH * ceilDiv(k, parts * SUBGROUP_DEPTH)
  return { splits: ceilDiv(k, chunk), chunk }
}
