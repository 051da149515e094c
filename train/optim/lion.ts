import type { OptionNames } from '../../engine/base/options.ts'
import type { Tensor } from '../../engine/index.ts'
import { lionStep } from '../../engine/ops/lion.ts'
import { checkHyperparameters, plainRule } from '../../engine/ops/optimizerStep.ts'
import { checkBetas } from './adamW.ts'
import type { GroupOptions, OptimizerParameters } from './groups.ts'
import { Optimizer, type OptimizerOptions, type Treatment } from './optimizer.ts'

/** Options of Lion for all parameters or for a group of them. */
export interface LionGroupOptions extends GroupOptions {
  /** The momentum's share in the sign and its decay rate, each at least 0 and below 1; default [0.9, 0.99]. */
  betas?: readonly [number, number]
  /** Decoupled weight decay, at least 0; default 0. */
  weightDecay?: number
}

export interface LionOptions extends LionGroupOptions, OptimizerOptions {}

const OPTIONS: OptionNames<LionGroupOptions> = { betas: true, weightDecay: true, decays: true }

/** The momentum by parameter name. */
export interface LionState {
  momentum: Map<string, Tensor>
}

/**
 * Lion (arXiv 2302.06675) over all parameters in one dispatch, or one for each allocation when a binding does not hold them all, and for
 * groups of other betas. Every element moves by lr, so lr is 3 to 10 times smaller than for AdamW, and the weight decay as much larger.
 * The gradient is clipped by its global norm first. What all optimizers share is told at `Optimizer`.
 */
export class Lion extends Optimizer<LionGroupOptions> {
  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in the arena of another optimizer.
   * @param parameters as for AdamW: parameters with or without names, or groups
   * @throws ArgumentError in one line unless `parameters` is a list of parameters or groups, and for options that do not exist or are out
   *   of range; ShapeError for tensors that are no float32 leaves of one device
   */
  constructor(parameters: OptimizerParameters<LionGroupOptions>, options: LionOptions = {}) {
    super('Lion', parameters, options, OPTIONS, (member) => treatmentOf(member.options))
  }

  override state(): Record<string, Map<string, Tensor>> & LionState {
    return this.moments() as Record<string, Map<string, Tensor>> & LionState
  }
}

function treatmentOf({ betas = [0.9, 0.99], weightDecay = 0 }: LionGroupOptions): {
  treatment: Treatment
  weightDecay: number
} {
  checkBetas('Lion', betas)
  checkHyperparameters('Lion', { weightDecay })
  const treatment: Treatment = {
    key: `${betas}`,
    moments: ['momentum'],
    rule: (lr, decay) => plainRule(lr, decay),
    step(part, slots) {
      const { params, grads, blockSlot, changes, moments } = part
      lionStep({ params, grads, blockSlot, changes, momentum: moments.momentum! }, slots, betas)
    },
  }
  return { treatment, weightDecay }
}
