import type { Tensor } from '../../engine/index.ts'
import { AdamW } from './adamW.ts'
import { MOMENTUM, type OptimizerName } from './kindNames.ts'
import { Lion } from './lion.ts'
import type { LossScale } from './lossScale.ts'
import { Muon } from './muon.ts'
import type { Optimizer } from './optimizer.ts'
import { Sgd } from './sgd.ts'

interface MakeOptions {
  /** Default adamW. */
  optimizer?: OptimizerName | undefined
  weightDecay: number
  momentum?: number | undefined
  lossScale?: LossScale
}

/** Makes an optimizer as the settings of a run ask for it. */
export function makeOptimizer(
  parameters: readonly (readonly [string, Tensor])[],
  { optimizer = 'adamW', weightDecay, momentum = MOMENTUM[optimizer], lossScale }: MakeOptions,
): Optimizer {
  const options = { weightDecay, ...(lossScale && { lossScale }) }
  const moving = { ...options, ...(momentum !== undefined && { momentum }) }
  if (optimizer === 'sgd') return new Sgd(parameters, moving)
  if (optimizer === 'muon') return new Muon(parameters, moving)
  return optimizer === 'lion' ? new Lion(parameters, options) : new AdamW(parameters, options)
}
