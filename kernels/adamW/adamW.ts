import { type Capabilities, ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import adamWSource from './adamW.wgsl'
import adamWInterleaved from './adamWInterleaved.wgsl'
import gradNormSource from './gradNorm.wgsl'
import gradNormWorkgroup from './gradNormWorkgroup.wgsl'
import setupSource from './setup.wgsl'
import setupWorkgroup from './setupWorkgroup.wgsl'

/** A gradient arena of `blocks` times 64 elements, in pieces of `chunk` blocks. */
export interface GradNorm {
  blocks: number
  chunk: number
}

/** Whether a device has the workgroups of 256 threads in which the `workgroup` variants add up. */
function tree(device: Capabilities): boolean {
  return device.maxInvocations >= 256
}

/** The number of blocks in a piece: so few that the pieces keep the device busy, and so many that adding them up costs nothing. */
export function gradNormChunk(device: Capabilities, blocks: number): number {
  return Math.max(device.software ? 8 : 32, ceilDiv(blocks, 1024))
}

/**
 * The first pass of the global gradient norm: `partials` [ceil(blocks / chunk)] are the sums of squares of `gradients` [blocks, 64] over
 * the blocks whose slot takes part, as `rules` [slots, 4] says: its second number is below 0 for a slot that does not.
 */
export const gradNorm: KernelSpec<GradNorm> = {
  name: 'gradNorm',
  bindings: [
    ...reads('f32', 'gradients'),
    ...reads('i32', 'blockSlot'),
    ...reads('f32', 'rules'),
    ...writes('f32', 'partials'),
  ],
  params: scalars('u32', 'blocks', 'chunk'),
  variants: [
    {
      name: 'direct',
      source: gradNormSource,
      grid: ({ blocks, chunk }) => grid1d(ceilDiv(ceilDiv(blocks, chunk), 32)),
    },
    {
      name: 'workgroup',
      source: gradNormWorkgroup,
      supports: tree,
      grid: ({ blocks, chunk }) => grid1d(ceilDiv(blocks, chunk)),
    },
  ],
  choose: (device) => (!device.software && tree(device) ? 'workgroup' : 'direct'),
  flops: ({ blocks }) => 128 * blocks,
  bytes: ({ blocks }) => 256 * blocks,
}

export interface StepSetup {
  /** The number of sums of squares to add up. */
  pieces: number
  slots: number
  /** Gradients are multiplied by min(1, maxNorm / (norm + 1e-6)) where this is above 0. */
  maxNorm: number
  /** The finite steps in a row after which the loss scale doubles; 0 keeps it constant. */
  growthInterval: number
}

/**
 * Decides on the device what a step of an optimizer does. `partials` [pieces] are sums of squares of gradients of the scaled loss. `rules`
 * [slots, 4] holds each slot's learning rate, its weight decay (below 0 for a slot that does not take part) and two numbers more. The
 * kernel writes `norm` [1], the norm of the gradient of the loss itself, and the table `slots` [slots, 4] that the optimizer's kernel reads.
 *
 * For AdamW the two numbers are the logarithms of its betas, computed in float64 and at most 0, and a row of the table is `stepSize,
 * invSqrtBc2, lr * decay, factor`. (x, 1) gives the row `lr, x, lr * decay, factor` and (x, 2) the row `lr, x, decay, factor`, in the
 * first step of the slot with 1 in the place of x.
 *
 * The step counts t in `steps` [slots] advance for slots that take part. A norm that is not finite leaves them as they are, and no slot
 * of the table is active. `lossScale` [2] holds the scale and the number of finite steps in a row since it changed. A step that is not
 * finite halves the scale and `growthInterval` finite steps double it, as PyTorch's GradScaler does. Unlike there, a scale below 1 is not
 * halved and none grows above 2^126, so the next finite step is never divided by 0 or infinity.
 */
export const stepSetup: KernelSpec<StepSetup> = {
  name: 'stepSetup',
  bindings: [
    ...reads('f32', 'partials', 'rules'),
    ...writes('f32', 'lossScale'),
    ...writes('i32', 'steps'),
    ...writes('f32', 'slots', 'norm'),
  ],
  params: [...scalars('u32', 'pieces', 'slots'), ...scalars('f32', 'maxNorm'), ...scalars('u32', 'growthInterval')],
  variants: [
    { name: 'direct', source: setupSource, grid: () => [1, 1, 1] },
    { name: 'workgroup', source: setupWorkgroup, supports: tree, grid: () => [1, 1, 1] },
  ],
  choose: (device) => (!device.software && tree(device) ? 'workgroup' : 'direct'),
  flops: ({ pieces, slots }) => pieces + 8 * slots,
  bytes: ({ pieces, slots }) => 4 * (pieces + 8 * slots),
}

/** A step over an arena of `blocks` times 64 elements. */
export interface AdamW {
  blocks: number
  beta1: number
  beta2: number
  /** 1 - beta1 and 1 - beta2, computed in float64. */
  complement1: number
  complement2: number
  eps: number
}

const VEC4S_PER_THREAD = 4

/**
 * One step of AdamW (1711.05101) over all parameters in one dispatch, in the form of PyTorch. With g the gradient times its factor,
 * `p *= 1 - decay; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= stepSize * m / (sqrt(v) * invSqrtBc2 + eps)`.
 * `blockSlot` [blocks] maps each block to its slot. `slots` [slots, 4] holds stepSize = lr / (1 - b1^t), invSqrtBc2 =
 * 1 / sqrt(1 - b2^t), decay = lr * weightDecay, and the factor of the gradient. A slot whose factor is negative stays as it is.
 */
export const adamW: KernelSpec<AdamW> = {
  name: 'adamW',
  bindings: [
    ...writes('f32', 'values'),
    ...reads('f32', 'gradients'),
    ...writes('f32', 'firstMoments', 'secondMoments'),
    ...reads('i32', 'blockSlot'),
    ...reads('f32', 'slots'),
  ],
  params: [...scalars('u32', 'blocks'), ...scalars('f32', 'beta1', 'beta2', 'complement1', 'complement2', 'eps')],
  variants: [
    { name: 'direct', source: adamWSource, grid: ({ blocks }) => grid1d(ceilDiv(blocks, 64)) },
    {
      name: 'interleaved',
      source: adamWInterleaved,
      constants: () => ({ VEC4S_PER_THREAD }),
      grid: ({ blocks }) => grid1d(ceilDiv(blocks * 16, 64 * VEC4S_PER_THREAD)),
    },
  ],
  choose: (device) => (device.software ? 'direct' : 'interleaved'),
  flops: ({ blocks }) => 64 * 14 * blocks,
  bytes: ({ blocks }) => 64 * 4 * 7 * blocks,
}
