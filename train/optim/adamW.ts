import { refusal } from '../../engine/base/checks.ts'
import type { OptionNames } from '../../engine/base/options.ts'
import type { Tensor } from '../../engine/index.ts'
import { adamWStep } from '../../engine/ops/adamW.ts'
import { adamWRule, checkHyperparameters } from '../../engine/ops/optimizerStep.ts'
import type { GroupOptions, OptimizerParameters } from './groups.ts'
import { Optimizer, type OptimizerOptions, type Treatment } from './optimizer.ts'

/** Options of AdamW for all parameters or for a group of them. */
export interface AdamWGroupOptions extends GroupOptions {
  /** Decay rates of the first and second moment, each at least 0 and below 1; default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** At least 0; default 1e-8. */
  eps?: number
  /** Decoupled weight decay, at least 0; default 0.05. */
  weightDecay?: number
}

export interface AdamWOptions extends AdamWGroupOptions, OptimizerOptions {}

const OPTIONS: OptionNames<AdamWGroupOptions> = { betas: true, eps: true, weightDecay: true, decays: true }

/** The complete hyperparameters of an optimizer. */
export type AdamWSettings = Required<Pick<AdamWOptions, 'betas' | 'eps' | 'weightDecay'>>

/** Moments by parameter name, for a checkpoint. */
export interface AdamWState {
  m: Map<string, Tensor>
  v: Map<string, Tensor>
}

/**
 * AdamW (arXiv 1711.05101) over all parameters in one dispatch, or one for each allocation when a binding does not hold them all, and for
 * groups of other betas or eps. The gradient is clipped by its global norm first. What all optimizers share is told at `Optimizer`.
 */
export class AdamW extends Optimizer<AdamWGroupOptions> {
  readonly settings: AdamWSettings

  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in the arena of another optimizer.
   * Earlier views of them keep the old memory.
   * @param parameters with their names, such as `model.namedParameters()`, or without, when they are called 0, 1, … A parameter
   *   that appears twice counts once, under its first name. Or groups: objects with `parameters` and options of their own
   * @throws ArgumentError in one line unless `parameters` is a list of parameters or groups, and for options that do not exist or are out
   *   of range; ShapeError for tensors that are no float32 leaves of one device; OutOfMemoryError for a parameter that no
   *   binding of the device holds
   */
  constructor(parameters: OptimizerParameters<AdamWGroupOptions>, options: AdamWOptions = {}) {
    super('AdamW', parameters, options, OPTIONS, (member) => adamWTreatment('AdamW', settingsOf('AdamW', member.options)))
    this.settings = settingsOf('AdamW', options)
  }

  override state(): Record<string, Map<string, Tensor>> & AdamWState {
    return this.moments() as Record<string, Map<string, Tensor>> & AdamWState
  }
}

/** Completes hyperparameters. @throws ArgumentError for some that are out of range */
export function settingsOf(
  op: string,
  { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.05 }: AdamWGroupOptions,
): AdamWSettings {
  checkBetas(op, betas)
  checkHyperparameters(op, { eps, weightDecay })
  return { betas, eps, weightDecay }
}

/** @throws ArgumentError unless `betas` are two numbers of at least 0 and below 1 */
export function checkBetas(op: string, betas: readonly [number, number]): void {
  if (!Array.isArray(betas) || betas.length !== 2) throw refusal(op, betas, 'two numbers, such as [0.9, 0.999]', 'betas')
  checkHyperparameters(op, { beta1: betas[0], beta2: betas[1] })
}

/** Says how AdamW updates a parameter. */
export function adamWTreatment(
  op: string,
  { betas, eps, weightDecay }: AdamWSettings,
): { treatment: Treatment; weightDecay: number } {
  const treatment: Treatment = {
    key: `${op} ${betas} ${eps}`,
    moments: ['m', 'v'],
    rule: (lr, decay) => adamWRule(lr, decay, betas),
    step(part, slots) {
      const { params, grads, blockSlot, changes, moments } = part
      adamWStep({ params, grads, blockSlot, changes, m: moments.m!, v: moments.v! }, slots, { betas, eps })
    },
  }
  return { treatment, weightDecay }
}
