import { muonMomentum, muonUpdate } from '../../kernels/muon/index.ts'
import { ARENA_BLOCK } from '../autograd/arena.ts'
import { copyInto } from '../tensor/copies.ts'
import { runScalar } from '../tensor/pointwise.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { add, div, mul, sqrt } from './elementwise.ts'
import { gemm, transposed } from './gemm.ts'
import { changing, checkHyperparameters, checkSizes, flat, type StepArena } from './optimizerStep.ts'
import { sum } from './reduce.ts'

/** Matrices of one shape whose directions lie side by side, each at the start of a block. */
export interface MuonMatrices {
  rows: number
  cols: number
  count: number
  /** The block of the first one, among the directions. */
  first: number
  /** The blocks from one to the next. */
  blocks: number
}

/** The weights of one arena with their momentum, which is zeros before the first step. */
export interface MuonArena extends StepArena {
  momentum: Tensor
  /** int32, one element a block of 64 elements: the block's place among the directions, -1 for those of others. */
  blockPlace: Tensor
  matrices: readonly MuonMatrices[]
}

export interface MuonHyperparameters {
  momentum: number
  nesterov: boolean
  /** Newton-Schulz iterations. */
  iterations: number
}

/** The coefficients of a Newton-Schulz iteration, X <- a X + (b A + c A^2) X with A = X X^T, of the authors' implementation. */
const [A, B, C] = [3.4445, -4.775, 2.0315] as const

/** The factor that `orthogonalize` leaves out. */
export function muonGain(iterations: number): number {
  return A ** iterations
}

/**
 * Takes one step of Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) for all weights of an arena that take part, in
 * place and off the tape: momentum in one dispatch, Newton-Schulz iterations for all matrices of a shape at once, the update in one.
 * @param slots the table of `setUpStep`, from rules of `plainRule` whose value is the scale of a matrix times `muonGain(iterations)`
 * @throws ShapeError for tensors of different layouts; ArgumentError for a momentum out of its range
 */
export function muonStep(arena: MuonArena, slots: Tensor, { momentum, nesterov, iterations }: MuonHyperparameters): void {
  const { params, grads, blockSlot, blockPlace, matrices } = arena
  const blocks = blockSlot.size
  checkSizes('muonStep', [
    ...[params, grads, arena.momentum].map((t) => flat(t, blockSlot)),
    [blockSlot, blocks, 'int32'],
    [blockPlace, blocks, 'int32'],
    [slots, slots.size, 'float32'],
  ])
  checkHyperparameters('muonStep', { momentum })
  const places = matrices.reduce((most, { first, count, blocks }) => Math.max(most, first + count * blocks), 0)
  const directions = empty([places * ARENA_BLOCK], 'float32', params.device)
  const problem = { blocks, momentum, complement: 1 - momentum, nesterov: Number(nesterov) }
  run(muonMomentum, problem, [grads, arena.momentum, directions, blockSlot, blockPlace, slots])
  for (const { rows, cols, count, first, blocks } of matrices) {
    const batch = view(directions, {
      shape: [count, rows, cols],
      strides: [blocks * ARENA_BLOCK, cols, 1],
      offset: first * ARENA_BLOCK,
    })
    copyInto(orthogonalize(batch, iterations), batch)
  }
  run(muonUpdate, { blocks }, [changing(arena), directions, blockSlot, blockPlace, slots])
}

/**
 * Brings the singular values of matrices near 1 by Newton-Schulz iterations, after each is divided by its Frobenius norm plus 1e-7.
 * @param x [n, rows, cols]
 * @returns [n, rows, cols], the result divided by `muonGain(iterations)`
 */
export function orthogonalize(x: Tensor, iterations: number): Tensor {
  const [n, rows, cols] = x.shape as [number, number, number]
  const { device } = x
  const norms = sqrt(sum(mul(x, x), [1, 2], true)) // [n, 1, 1]
  let y = div(x, add(norms, 1e-7))
  const wide = rows <= cols
  const side = Math.min(rows, cols)
  // With X = s Y an iteration is X <- a s (Y + (b / a s^2 G + c / a s^4 G^2) Y), where G = Y Y^T, or Y^T Y behind Y for tall matrices.
  let scale = 1
  for (let i = 0; i < iterations; i++) {
    const gram = empty([n, side, side], 'float32', device)
    if (wide) gemm(gram, y, transposed(y))
    else gemm(gram, transposed(y), y)
    const part = empty(gram.shape, 'float32', device)
    runScalar('mul', gram, (C / B) * scale ** 2, part)
    const sumOfPowers = empty(gram.shape, 'float32', device)
    gemm(sumOfPowers, part, gram, { residual: gram }) // G + c / b s^2 G^2
    runScalar('mul', sumOfPowers, (B / A) * scale ** 2, part)
    const next = empty([n, rows, cols], 'float32', device)
    if (wide) gemm(next, part, y, { residual: y })
    else gemm(next, y, part, { residual: y })
    for (const t of [gram, part, sumOfPowers, y]) t.dispose()
    y = next
    scale *= A
  }
  return y
}
