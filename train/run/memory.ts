import { totalmem } from 'node:os'
import { UserError } from '../../engine/index.ts'
import { branchShape, countParameters, type ModelConfig } from '../../model/index.ts'
import type { Settings } from '../settings.ts'

const GIB = 2 ** 30

/** A GPU has memory of its own; what no GPU has is refused all the same. */
const MOST_GPU = 1024 * GIB

/**
 * Refuses a run that cannot fit, before anything is allocated: by the least that it needs, which is parameters with gradients and two
 * moments, and the input of every layer, kept for backward.
 * @param options.images training images, of which a mini-batch has no more
 * @param options.memory bytes of this machine
 * @throws UserError in one line: how much it takes, how much there is, what to lower
 */
export function checkMemory(
  settings: Settings,
  config: ModelConfig,
  { software, images, memory = totalmem() }: { software: boolean; images: number; memory?: number },
): void {
  const { batchSize, accumulate, scheme } = settings
  const { imageSize, patchSize, dim } = config
  const { branches, depth } = branchShape(config)
  const parameters = 16 * countParameters(config).total
  const part = Math.ceil(Math.min(batchSize, images) / accumulate)
  // The paper's scheme trains one branch at a time.
  const layers = scheme === 'paper' ? depth : branches * depth
  const inputs = 4 * part * ((imageSize / patchSize) ** 2 + 1) * dim * layers
  const there = software ? memory : Math.max(memory, MOST_GPU)
  if (parameters + inputs <= there) return
  throw new UserError(
    `training takes at least ${gib(parameters + inputs)} (parameters with gradients and moments ${gib(parameters)}, inputs of layers for ` +
      `${part} images ${gib(inputs)}), and there are ${gib(there)}; lower --batch-size, raise --accumulate, or take a smaller model`,
  )
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toPrecision(3)} GiB`
}
