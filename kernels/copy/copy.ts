import { hasVectorRows, isFlat, type Layout, type NestProblem, nest, type Walk } from '../layout.ts'
import { nestVariants } from '../runs.ts'
import { branchStrides, type Constants, ceilDiv, grid1d, type KernelSpec, SCALAR_BYTES, type Scalar } from '../spec.ts'
import flat from './flat.wgsl'
import strided from './strided.wgsl'
import transposeDirect from './transposeDirect.wgsl'
import transposeTiled from './transposeTiled.wgsl'
import vector from './vector.wgsl'

export interface Copy extends NestProblem {
  /** The element types: two equal ones, or float32 and float16. Any 4-byte type where both are left out. */
  from?: Scalar
  to?: Scalar
}

const operands = nest('source', 'target')

/** The side of the tiles of transposeTiled.wgsl. */
const TILE = 32

/** The problem of `copy`: the elements of `source` go into those of `target`, a layout of the same shape. */
export function copyProblem(source: Layout, target: Layout, types: Pick<Copy, 'from' | 'to'> = {}): Copy {
  const problem: Copy = Object.assign(operands.problem(source, target), types)
  const [from, to] = walksOf(problem)
  // The order of the outer dims is free. The transposing variants want the dim along which the source is contiguous last.
  const along = from.strides.indexOf(1)
  if (along >= 0 && from.step !== 1) {
    for (const list of [problem.dims, from.strides, to.strides]) list.push(...list.splice(along, 1))
  }
  return problem
}

function walksOf({ walks }: Copy): readonly [source: Walk, target: Walk] {
  return walks as readonly [Walk, Walk]
}

/** Whether all elements can be moved as one run of vec4s. */
function movesFlat(problem: Copy): boolean {
  return walksOf(problem)[1].step === 1 && isFlat(problem)
}

/** Whether rows can be moved in vec4s, which needs a target that is contiguous along the row. */
function movesVectors(problem: Copy): boolean {
  return walksOf(problem)[1].step === 1 && hasVectorRows(problem)
}

/** Whether the target is contiguous along the innermost dim and the source along the dim before it. */
function transposes(problem: Copy): boolean {
  const [source, target] = walksOf(problem)
  return target.step === 1 && source.step > 1 && source.strides.at(-1) === 1
}

/** Whether a problem that transposes does so in blocks of 4 x 4: rows and columns are made of vec4s. */
function transposesBlocks(problem: Copy): boolean {
  const { dims, inner } = problem
  const [source, target] = walksOf(problem)
  const counts = [inner, dims.at(-1)!, source.step, source.offset, target.offset]
  return [...counts, ...target.strides, ...source.strides.slice(0, -1)].every((count) => count % 4 === 0)
}

const aliases = ({ from = 'u32', to = from }: Copy): Constants => ({ Source: from, Target: to })
const [flatVariant, vectorVariant, stridedVariant] = nestVariants({ flat, vector, strided }, ['source'], aliases)

/** Moves elements between any strides, rounded to the nearest where `to` is narrower. What `out` holds elsewhere stays. */
export const copy: KernelSpec<Copy> = {
  name: 'copy',
  bindings: [
    { name: 'source', access: 'read', dtype: ({ from = 'u32' }: Copy) => from, offset: 'sourceOffset' },
    { name: 'out', access: 'read_write', dtype: ({ from = 'u32', to = from }: Copy) => to, offset: 'targetOffset' },
  ],
  params: [branchStrides(2), ...operands.params],
  variants: [
    { ...flatVariant, supports: (_, problem) => movesFlat(problem) },
    { ...vectorVariant, supports: (_, problem) => movesVectors(problem) },
    {
      name: 'transposeDirect',
      source: transposeDirect,
      supports: (_, problem) => transposes(problem) && transposesBlocks(problem),
      constants: (problem, device) => ({ RUN: device.software ? 8 : 1, ...aliases(problem) }),
      grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv((rows / 4) * ceilDiv(inner / 4, Number(RUN)), 64)),
    },
    {
      name: 'transposeTiled',
      source: transposeTiled,
      supports: (device, problem) => device.maxInvocations >= TILE * 8 && transposes(problem),
      constants: (problem) => ({
        ...aliases(problem),
        ...(transposesBlocks(problem) && {
          ...{ VEC: 4, From: 'vec4<Source>', To: 'vec4<Target>', Four: 'array<vec4<Target>, 1>' },
        }),
      }),
      grid: ({ dims, rows, inner }) => {
        const height = dims.at(-1)!
        return grid1d((rows / height) * ceilDiv(height, TILE) * ceilDiv(inner, TILE))
      },
    },
    stridedVariant,
  ],
  choose(device, problem) {
    if (movesFlat(problem)) return 'flat'
    if (movesVectors(problem)) return 'vector'
    if (!transposes(problem)) return 'strided'
    if (device.software) return transposesBlocks(problem) ? 'transposeDirect' : 'strided'
    // Tiles that are mostly empty cost more than they save.
    const full = problem.inner >= TILE / 2 && problem.dims.at(-1)! >= TILE / 2
    return full && device.maxInvocations >= TILE * 8 ? 'transposeTiled' : 'strided'
  },
  flops: () => 0,
  bytes: ({ rows, inner, from = 'u32', to = from }) => (SCALAR_BYTES[from] + SCALAR_BYTES[to]) * rows * inner,
}
