import { checkFunction, refusal } from '../../engine/base/checks.ts'
import { ArgumentError } from '../../engine/base/errors.ts'
import { checkOptions } from '../../engine/base/options.ts'
import type { Tensor } from '../../engine/index.ts'
import type { CounterRandom } from '../../kernels/random/counterRandom.ts'
import type { Mode, Model, ModelConfig } from '../../model/index.ts'

/** A part of a mini-batch on the device. */
export interface MicroBatch {
  /** [B, C, H, W] */
  images: Tensor
  /** int32 [B] */
  labels: Tensor
  /** Share of the mini-batch's images. */
  share: number
  /** Outputs of branches that ran on their devices (see `ForwardOptions`). */
  outputs?: Tensor
}

/** The goal of an optimizer step. */
export interface Objective {
  /** Returns the scalar to differentiate, and the losses ([1] or [m]) and logits ([1 or m, B, classes]) to report. */
  loss(model: Model, batch: MicroBatch): { objective: Tensor; losses: Tensor; logits: Tensor }
  /** Whether the step clips the gradient by its global norm. */
  clip: boolean
  /** Number k of the prefix that the step runs. */
  branches: number
  /** Whether the loss reads the output of each branch, not only their sum. */
  eachBranch: boolean
  /** The prefix of the first reported loss; the others are of the prefixes after it. */
  firstPrefix: number
  /** Whether the step needs all branches on one device, because it keeps some of them from learning. */
  oneDevice?: boolean
  /** Counts the operations of a step on one image, forward and backward; default those that `trainingFlops` derives. */
  flops?(config: ModelConfig): number
}

/** The place of an optimizer step in a run. */
export interface StepPlace {
  /** Mini-batches done, and those of the whole run. */
  step: number
  total: number
  /** Random numbers of this step alone: a resumed run draws the same. */
  random: CounterRandom
}

/** A way to train the branches. */
export interface Scheme {
  name: string
  /** Passes over the data in an epoch, with the objectives of each: an optimizer step is taken on each, for every mini-batch. */
  passes: readonly (readonly Objective[])[]
  /** Chooses, at every mini-batch anew, the only objective of the pass that a step is taken on. */
  choose?(objectives: readonly Objective[], place: StepPlace): Objective
}

/** The settings that a scheme is made for. */
export interface SchemeOptions {
  /** Weights of the prefix losses, one for each branch; default all 1. */
  weights?: readonly number[] | undefined
  /** Weight of the hinge that pushes each prefix loss below the one before it; default 0. */
  hinge?: number | undefined
  /** The mode in which the branches run; default `serial`. */
  mode?: Mode | undefined
}

/** A scheme that does not know the number of branches yet. */
export interface SchemeDefinition {
  readonly name: string
  /** Makes the scheme for `branches` branches. */
  make(branches: number, options: SchemeOptions): Omit<Scheme, 'name'>
}

/**
 * Defines a scheme of one's own, for `Trainer` and studies.
 * @param definition `make` gives the passes over the data, and the optimizer steps on each mini-batch of a pass
 * @throws ArgumentError for a definition without name or `make`
 */
export function defineScheme(definition: SchemeDefinition): SchemeDefinition {
  checkOptions('defineScheme', definition, { name: true, make: true })
  if (typeof definition?.name !== 'string' || definition.name === '')
    throw refusal('defineScheme', definition?.name, 'a text', 'name')
  checkFunction('defineScheme', definition.make, 'make')
  return definition
}

/**
 * Makes a defined scheme for a number of branches.
 * @throws ArgumentError when the definition gives no passes, a pass without steps, or a step that is no objective
 */
export function instantiate(definition: SchemeDefinition, branches: number, options: SchemeOptions = {}): Scheme {
  const made = definition.make(branches, options)
  const isPass = (pass: readonly Objective[]) =>
    Array.isArray(pass) && pass.length > 0 && pass.every((objective) => typeof objective?.loss === 'function')
  if (!Array.isArray(made?.passes) || made.passes.length === 0 || !made.passes.every(isPass)) {
    throw new ArgumentError(
      `scheme ${definition.name}: make() gives passes that are no lists of objectives; give at least one pass of one objective`,
    )
  }
  if (made.choose !== undefined) checkFunction(`scheme ${definition.name}`, made.choose, 'choose')
  return { ...made, name: definition.name }
}

/**
 * Returns the objectives of the steps on a mini-batch.
 * @throws ArgumentError when the scheme chooses an objective that is not of the pass
 */
export function stepsAt({ name, passes, choose }: Scheme, pass: number, place: () => StepPlace): readonly Objective[] {
  const objectives = passes[pass]!
  if (!choose) return objectives
  const objective = choose(objectives, place())
  if (!objectives.includes(objective)) throw new ArgumentError(`scheme ${name}: choose() gave an objective that the pass lacks`)
  return [objective]
}

/** Returns the number of optimizer steps on each mini-batch, by pass. */
export function updatesOf({ passes, choose }: Scheme): number[] {
  return passes.map((pass) => (choose ? 1 : pass.length))
}

/** Returns the last objective of a scheme, which runs all branches. */
export function lastObjective({ passes }: Scheme): Objective {
  return passes.at(-1)!.at(-1)!
}
