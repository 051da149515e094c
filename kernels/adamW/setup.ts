import { type KernelSpec, reads, scalars, writes } from '../spec.ts'
import { tree } from './gradNorm.ts'
import setupSource from './setup.wgsl'
import setupWorkgroup from './setupWorkgroup.wgsl'

export interface StepSetup {
  /** The number of sums of squares to add up. */
  pieces: number
  slots: number
  lr: number
  /** The natural logarithms of the decays of the moments, computed in float64. */
  logBeta1: number
  logBeta2: number
  /** Gradients are multiplied by min(1, maxNorm / (norm + 1e-6)) where this is above 0. */
  maxNorm: number
  /** The finite steps in a row after which the loss scale doubles; 0 keeps it constant. */
  growthInterval: number
}

/**
 * Decides on the device what an AdamW step does. `partials` [pieces] are sums of squares of gradients of the scaled loss. `rules`
 * [slots, 2] holds each slot's weight decay and whether it takes part (0 or 1). The kernel writes `norm` [1], the norm of the gradient of
 * the loss itself, and the table `slots` [slots, 4] of `adamW`.
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
  params: [
    ...scalars('u32', 'pieces', 'slots'),
    ...scalars('f32', 'lr', 'logBeta1', 'logBeta2', 'maxNorm'),
    ...scalars('u32', 'growthInterval'),
  ],
  variants: [
    { name: 'direct', source: setupSource, grid: () => [1, 1, 1] },
    { name: 'workgroup', source: setupWorkgroup, supports: tree, grid: () => [1, 1, 1] },
  ],
  choose: (device) => (!device.software && tree(device) ? 'workgroup' : 'direct'),
  flops: ({ pieces, slots }) => pieces + 8 * slots,
  bytes: ({ pieces, slots }) => 4 * (pieces + 8 * slots),
}
