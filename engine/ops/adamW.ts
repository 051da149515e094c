import { adamW, gradNormChunk, gradNorm as gradNormKernel, normFinal } from '../../kernels/adamW/index.ts'
import { ARENA_BLOCK } from '../arena.ts'
import { ShapeError } from '../errors.ts'
import { run } from '../run.ts'
import { format } from '../shape.ts'
import { empty, type Tensor } from '../tensor.ts'

/** What a step reads and writes: flat float32 tensors of one arena's layout, and its tables. */
export interface AdamWTensors {
  params: Tensor
  grads: Tensor
  /** First and second moment; zeros before the first step. */
  m: Tensor
  v: Tensor
  /** int32, the slot of each block of 64 elements. */
  blockSlot: Tensor
  /** float32, for each slot lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t), lr * weightDecay, and whether it is active (0 or 1). */
  slots: Tensor
  /** float32, one element: the gradient norm of `gradNorm`, or zero where none is wanted. */
  norm: Tensor
}

export interface AdamWHyperparameters {
  beta1: number
  beta2: number
  eps: number
  /** The gradient is multiplied by min(1, maxNorm / (norm + 1e-6)); Infinity, or 0 and less: no clipping. */
  maxNorm: number
}

/** @throws ShapeError unless all flat tensors have the layout of `blockSlot` */
function blocksOf(op: string, flats: readonly Tensor[], blockSlot: Tensor): number {
  const { size } = blockSlot
  for (const flat of flats) {
    if (flat.size !== size * ARENA_BLOCK || flat.dtype !== 'float32' || blockSlot.dtype !== 'int32') {
      throw new ShapeError(
        `${op}: got ${flat.dtype} ${format(flat.shape)}; takes float32 [${size * ARENA_BLOCK}], ${ARENA_BLOCK} elements for each block`,
      )
    }
  }
  return size
}

/**
 * One AdamW step of all active slots, in place and off the tape. Where the norm is not finite nothing changes.
 * @throws ShapeError for tensors of different layouts
 */
export function adamWStep(tensors: AdamWTensors, { beta1, beta2, eps, maxNorm }: AdamWHyperparameters): void {
  const { params, grads, m, v, blockSlot, slots, norm } = tensors
  const problem = {
    blocks: blocksOf('adamWStep', [params, grads, m, v], blockSlot),
    beta1,
    beta2,
    complement1: 1 - beta1,
    complement2: 1 - beta2,
    eps,
    maxNorm: Number.isFinite(maxNorm) ? maxNorm : 0,
  }
  run(adamW, problem, [params, grads, m, v, blockSlot, slots, norm])
}

/**
 * Writes the Euclidean norm of all gradients of active slots to `out`, one float32; off the tape. Tables as for `adamWStep`.
 * @throws ShapeError for tensors of different layouts
 */
export function gradNorm(grads: Tensor, blockSlot: Tensor, slots: Tensor, out: Tensor): void {
  const blocks = blocksOf('gradNorm', [grads], blockSlot)
  const chunk = gradNormChunk(grads.device.capabilities, blocks)
  const count = Math.ceil(blocks / chunk)
  const partials = empty([count], 'float32', grads.device)
  run(gradNormKernel, { blocks, chunk }, [grads, blockSlot, slots, partials])
  run(normFinal, { count }, [partials, out])
  partials.dispose()
}
