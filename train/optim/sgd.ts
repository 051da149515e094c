import { checkBoolean } from '../../engine/base/checks.ts'
import { ArgumentError } from '../../engine/base/errors.ts'
import type { OptionNames } from '../../engine/base/options.ts'
import type { Tensor } from '../../engine/index.ts'
import { checkHyperparameters, plainRule } from '../../engine/ops/optimizerStep.ts'
import { sgdStep } from '../../engine/ops/sgd.ts'
import type { GroupOptions, OptimizerParameters } from './groups.ts'
import { Optimizer, type OptimizerOptions, type Treatment } from './optimizer.ts'

/** Options of Sgd for all parameters or for a group of them. */
export interface SgdGroupOptions extends GroupOptions {
  /** At least 0 and below 1; default 0, which keeps no moments. */
  momentum?: number
  /** The part of the gradient that does not enter the momentum, from 0 to 1; default 0. It counts after the first step. */
  dampening?: number
  /** Whether to take Nesterov's momentum, which needs a momentum and no dampening; default false. */
  nesterov?: boolean
  /** Weight decay as a part of the gradient (L2), at least 0; default 0. */
  weightDecay?: number
}

export interface SgdOptions extends SgdGroupOptions, OptimizerOptions {}

const OPTIONS: OptionNames<SgdGroupOptions> = {
  momentum: true,
  dampening: true,
  nesterov: true,
  weightDecay: true,
  decays: true,
}

/** The momentum by parameter name; without momentum it is empty. */
export interface SgdState {
  momentum: Map<string, Tensor>
}

/**
 * Stochastic gradient descent with momentum as PyTorch's `SGD`, over all parameters in one dispatch, or one for each allocation when a
 * binding does not hold them all, and for groups of another momentum. Unlike there, biases and norms do not decay unless `decays` says so.
 * The gradient is clipped by its global norm first. What all optimizers share is told at `Optimizer`.
 */
export class Sgd extends Optimizer<SgdGroupOptions> {
  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in the arena of another optimizer.
   * @param parameters as for AdamW: parameters with or without names, or groups
   * @throws ArgumentError in one line unless `parameters` is a list of parameters or groups, and for options that do not exist or are out
   *   of range; ShapeError for tensors that are no float32 leaves of one device
   */
  constructor(parameters: OptimizerParameters<SgdGroupOptions>, options: SgdOptions = {}) {
    super('Sgd', parameters, options, OPTIONS, (member) => treatmentOf(member.options))
  }

  override state(): Record<string, Map<string, Tensor>> & SgdState {
    return { momentum: new Map(), ...this.moments() }
  }
}

function treatmentOf({ momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 }: SgdGroupOptions): {
  treatment: Treatment
  weightDecay: number
} {
  checkHyperparameters('Sgd', { momentum, dampening, weightDecay })
  checkBoolean('Sgd', nesterov, 'nesterov')
  if (nesterov && (momentum === 0 || dampening !== 0))
    throw new ArgumentError('Sgd: nesterov takes a momentum above 0 and no dampening')
  const treatment: Treatment = {
    key: `${momentum} ${nesterov}`,
    moments: momentum === 0 ? [] : ['momentum'],
    rule: (lr, decay) => plainRule(lr, decay, 1 - dampening, true),
    step(part, slots) {
      const { params, grads, blockSlot, changes, moments } = part
      sgdStep({ params, grads, blockSlot, changes, momentum: moments.momentum }, slots, { momentum, nesterov })
    },
  }
  return { treatment, weightDecay }
}
