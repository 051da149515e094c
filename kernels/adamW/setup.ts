import type { KernelSpec } from '../spec.ts'
import { tree } from './gradNorm.ts'
import setupSource from './setup.wgsl'
import setupWorkgroup from './setupWorkgroup.wgsl'

export interface StepSetup {
  /** Sums of squares to add up. */
  pieces: number
  slots: number
  lr: number
  /** Natural logarithms of the decays of the moments, taken in float64. */
  logBeta1: number
  logBeta2: number
  /** Gradients are multiplied by min(1, maxNorm / (norm + 1e-6)); 0 or less: not at all. */
  maxNorm: number
  /** Finite steps in a row after which the loss scale doubles; 0: it is constant. */
  growthInterval: number
}

/**
 * What an AdamW step does, decided on the device. `partials` are sums of squares of gradients of the scaled loss, `rules` [slots, 2]
 * holds each slot's weight decay and whether it takes part (0 or 1). Gives the norm of the gradient of the loss itself, and the
 * table `slots` of `adamW`.
 *
 * The step counts t of slots that take part advance. A norm that is not finite leaves them and changes nothing: the table has no
 * active slot. `lossScale` [2] holds the scale, and how many finite steps in a row there were since it changed: a step that is not
 * finite halves it, `growthInterval` finite ones double it, as PyTorch's GradScaler does. Unlike there, a scale below 1 is not halved
 * and none grows above 2^126, so that the next good step is never divided by 0 or infinity.
 */
export const stepSetup: KernelSpec<StepSetup> = {
  name: 'stepSetup',
  bindings: [
    { name: 'partials', access: 'read', dtype: 'f32' },
    { name: 'rules', access: 'read', dtype: 'f32' },
    { name: 'lossScale', access: 'read_write', dtype: 'f32' },
    { name: 'steps', access: 'read_write', dtype: 'i32' },
    { name: 'slots', access: 'read_write', dtype: 'f32' },
    { name: 'norm', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    { name: 'pieces', type: 'u32' },
    { name: 'slots', type: 'u32' },
    { name: 'lr', type: 'f32' },
    { name: 'logBeta1', type: 'f32' },
    { name: 'logBeta2', type: 'f32' },
    { name: 'maxNorm', type: 'f32' },
    { name: 'growthInterval', type: 'u32' },
  ],
  variants: [
    { name: 'direct', source: setupSource, grid: () => [1, 1, 1] },
    { name: 'workgroup', source: setupWorkgroup, supports: tree, grid: () => [1, 1, 1] },
  ],
  choose: (device) => (!device.software && tree(device) ? 'workgroup' : 'direct'),
  flops: ({ pieces, slots }) => pieces + 8 * slots,
  bytes: ({ pieces, slots }) => 4 * (pieces + 8 * slots),
}
