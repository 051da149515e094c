import { hasVectorRows, type Layout, type NestProblem, nest, type Walk } from '../layout.ts'
import { stridedVariant, vectorVariant } from '../runs.ts'
import { ceilDiv, grid1d, type KernelSpec } from '../spec.ts'
import strided from './strided.wgsl'
import transposeDirect from './transposeDirect.wgsl'
import transposeTiled from './transposeTiled.wgsl'
import vector from './vector.wgsl'

export type Copy = NestProblem

const operands = nest('source', 'target')

/** Side of the tiles of transposeTiled.wgsl. */
const TILE = 32

/**
 * Problem of `copy`: the elements of `source`, as a tensor of this shape, into those of `target`.
 * @param shape no dim of 0
 */
export function copyProblem(shape: readonly number[], source: Layout, target: Layout): Copy {
  const problem = operands.problem(shape, [source, target])
  const [from, to] = walksOf(problem)
  // The order of the outer dims is free; the transposing variants want the one that the source runs along last.
  const along = from.strides.indexOf(1)
  if (along >= 0 && from.step !== 1) {
    for (const list of [problem.dims, from.strides, to.strides]) {
      list.push(...list.splice(along, 1))
    }
  }
  return problem
}

function walksOf({ walks }: Copy): readonly [source: Walk, target: Walk] {
  return walks as readonly [Walk, Walk]
}

/** Whether rows can be moved in vec4s: writing them needs a target that runs along the row. */
function movesVectors(problem: Copy): boolean {
  return walksOf(problem)[1].step === 1 && hasVectorRows(problem)
}

/** Whether the target runs along the innermost dim and the source along the one before it. */
function transposes(problem: Copy): boolean {
  const [source, target] = walksOf(problem)
  return target.step === 1 && source.step > 1 && source.strides.at(-1) === 1
}

/** The same with rows and columns made of vec4s. */
function transposesBlocks(problem: Copy): boolean {
  const { dims, inner } = problem
  const [source, target] = walksOf(problem)
  const vectors = [
    inner,
    dims.at(-1)!,
    source.step,
    source.offset,
    target.offset,
    ...target.strides,
    ...source.strides.slice(0, -1),
  ]
  return vectors.every((count) => count % 4 === 0)
}

/** Moves 4-byte elements of any type between any strides; what `out` holds elsewhere stays. */
export const copy: KernelSpec<Copy> = {
  name: 'copy',
  bindings: [
    { name: 'source', access: 'read', dtype: 'u32' },
    { name: 'out', access: 'read_write', dtype: 'u32' },
  ],
  params: operands.params,
  variants: [
    {
      ...vectorVariant<Copy>(vector, ['source'], () => ({})),
      supports: (_, problem) => movesVectors(problem),
    },
    {
      name: 'transposeDirect',
      source: transposeDirect,
      supports: (_, problem) => transposes(problem) && transposesBlocks(problem),
      constants: (_, device) => ({ RUN: device.software ? 8 : 1 }),
      grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv((rows / 4) * ceilDiv(inner / 4, Number(RUN)), 64)),
    },
    {
      name: 'transposeTiled',
      source: transposeTiled,
      supports: (device, problem) => device.maxInvocations >= TILE * 8 && transposes(problem),
      grid: ({ dims, rows, inner }) => {
        const height = dims.at(-1)!
        return grid1d((rows / height) * ceilDiv(height, TILE) * ceilDiv(inner, TILE))
      },
    },
    stridedVariant(strided, () => ({})),
  ],
  choose(device, problem) {
    if (movesVectors(problem)) return 'vector'
    if (!transposes(problem)) return 'strided'
    if (device.software) return transposesBlocks(problem) ? 'transposeDirect' : 'strided'
    // Tiles that are mostly empty cost more than they save.
    const full = problem.inner >= TILE / 2 && problem.dims.at(-1)! >= TILE / 2
    return full && device.maxInvocations >= TILE * 8 ? 'transposeTiled' : 'strided'
  },
  flops: () => 0,
  bytes: ({ rows, inner }) => 8 * rows * inner,
}
