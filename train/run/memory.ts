import { totalmem } from 'node:os'
import { UserError } from '../../engine/index.ts'
import { branchShape, countParameters, type ModelConfig } from '../../model/index.ts'
import type { Settings } from '../settings.ts'

const GIB = 2 ** 30

/** More bytes than any GPU has. The memory of the GPU at hand is unknown. */
const MAX_GPU = 1024 * GIB

/**
 * Refuses a run that cannot fit, before anything is allocated. A run needs at least its parameters with gradients and two moments, and
 * the input of every layer, which is saved for backward.
 * @param available.software whether the device computes in host memory
 * @param available.images number of training images, which limits a mini-batch
 * @param available.memory bytes of host memory
 * @throws UserError in one line: how much it takes, how much there is, what to lower
 */
export function checkMemory(
  settings: Settings,
  config: ModelConfig,
  available: { software: boolean; images: number; memory?: number },
): void {
  const { software, images, memory = totalmem() } = available
  const { batchSize, accumulate, scheme } = settings
  const { imageSize, patchSize, dim } = config
  const { branches, depth } = branchShape(config)
  const parameters = 16 * countParameters(config).total
  const microBatch = Math.ceil(Math.min(batchSize, images) / accumulate)
  // These schemes may train one branch at a time.
  const layers = ['paper', 'randomPrefix', 'greedy'].includes(scheme) ? depth : branches * depth
  const inputs = 4 * microBatch * ((imageSize / patchSize) ** 2 + 1) * dim * layers
  const there = software ? memory : Math.max(memory, MAX_GPU)
  if (parameters + inputs <= there) return
  throw new UserError(
    `training takes at least ${gib(parameters + inputs)} (parameters with gradients and moments ${gib(parameters)}, inputs of layers for ` +
      `${microBatch} images ${gib(inputs)}), and there are ${gib(there)}; lower --batch-size, raise --accumulate, or take a smaller model`,
  )
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toPrecision(3)} GiB`
}
