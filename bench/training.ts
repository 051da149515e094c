import { holdArenas, type ParameterArena } from '../engine/autograd/arena.ts'
import { zeroGrad } from '../engine/autograd/backward.ts'
import { addAll, backward, scope, type Tensor } from '../engine/index.ts'
import { addInPlace } from '../engine/tensor/pointwise.ts'
import type { AdamW } from '../train/index.ts'
import { disposeAll, type Outputs } from './outputs.ts'
import { type Replayed, replayed } from './replayed.ts'
import { normDifference } from './statistics.ts'
import { type Prepared, within } from './target.ts'
import { LEARNING_RATE } from './workloads.ts'

/** Relative change of the loss in the check of a gradient: large compared to rounding, small compared to curvature. */
const PROBE = 2e-3
const PROBE_TOLERANCE = 0.05
const LOSS_TOLERANCE = 1e-5
/** Larger than rounding, since the moments of an optimizer go on from step to step and change the update. */
const CHANGE_TOLERANCE = 1e-2

/** Parameters to train and their loss. */
export interface Trainable {
  parameters: readonly (readonly [name: string, parameter: Tensor])[]
  /** Computes the loss, a scalar. */
  loss(): Tensor
  /** Updates the parameters; without an optimizer plain SGD does. */
  optimizer?: AdamW
}

/** Training steps of a model on one batch. */
export class Training {
  readonly #trainable: Trainable
  readonly #parameters: readonly Tensor[]
  readonly #arenas: readonly ParameterArena[]

  constructor(trainable: Trainable) {
    this.#trainable = trainable
    this.#parameters = trainable.parameters.map(([, parameter]) => parameter)
    this.#arenas = holdArenas('Training', this.#parameters)
  }

  /**
   * A training step: forward pass, backward pass and update. It is captured in the first call and replayed in later ones, and
   * gives the loss before the update.
   */
  readonly run: Replayed = replayed(() => this.#step())

  /** Computes the loss, and the gradients by parameter name, without an update. */
  async gradients(): Promise<{ loss: number; gradients: Record<string, Float32Array> }> {
    const loss = this.#backward()
    const gradients: Record<string, Float32Array> = {}
    for (const [name, parameter] of this.#trainable.parameters) {
      if (!parameter.grad) throw new Error(`${name} got no gradient`)
      gradients[name] = (await parameter.grad.data()) as Float32Array
    }
    zeroGrad(this.#parameters)
    const value = await loss.item()
    loss.dispose()
    return { loss: value, gradients }
  }

  /**
   * Compares the gradient with a central difference of the loss along it.
   * @returns the relative difference
   * @throws Error for too large a difference
   */
  async checkGradient(what: string): Promise<number> {
    const loss = this.#backward()
    const squares = scope(() => addAll(this.#arenas.map(({ gradients }) => gradients.mul(gradients).sum())))
    const [value, norm2] = [await loss.item(), await squares.item()]
    const distance = (PROBE * Math.abs(value)) / norm2
    this.#move(distance)
    const above = await this.#value()
    this.#move(-2 * distance)
    const below = await this.#value()
    this.#move(distance)
    zeroGrad(this.#parameters)
    for (const t of [loss, squares]) t.dispose()
    const slope = (above - below) / (2 * distance)
    return within(Math.abs(slope / norm2 - 1), PROBE_TOLERANCE, `${what}: slope of the loss along its gradient`)
  }

  /** Compares replays with the step, as the function `checkReplay` does. */
  checkReplay(what: string): Promise<() => Promise<void>> {
    return checkReplay(what, this.run, this.#parameters)
  }

  /** Frees the parameters, their arenas, the optimizer and the captured step. */
  dispose(): void {
    this.run.dispose()
    this.#trainable.optimizer?.dispose()
    for (const resource of [...this.#arenas, ...this.#parameters]) resource.dispose()
  }

  /** Takes one training step. @returns the loss before its update */
  #step(): Tensor {
    const { optimizer } = this.#trainable
    const loss = this.#trainable.loss()
    backward(loss)
    if (optimizer) optimizer.step(LEARNING_RATE)
    else this.#move(-LEARNING_RATE)
    zeroGrad(this.#parameters)
    return loss
  }

  /** Runs a forward and backward pass. @returns the loss */
  #backward(): Tensor {
    return scope(() => {
      const loss = this.#trainable.loss()
      backward(loss)
      return loss
    })
  }

  /** Moves all parameters by a multiple of their gradients. */
  #move(distance: number): void {
    for (const { values, gradients } of this.#arenas) scope(() => addInPlace(values, gradients.mul(distance)))
  }

  async #value(): Promise<number> {
    const loss = scope(() => this.#trainable.loss())
    const value = await loss.item()
    loss.dispose()
    return value
  }
}

/**
 * Compares replays of a training step with the same step run op by op. All begin from the same parameters and random numbers,
 * and the parameters are restored after each.
 * @returns a check for after further steps: that they have moved parameters, and that a replay from the start still gives the loss
 * @throws Error unless the first outputs (the losses) and the changes of the parameters agree
 */
export async function checkReplay(
  what: string,
  run: Pick<Prepared, 'ops' | 'record'>,
  parameters: readonly Tensor[],
): Promise<() => Promise<void>> {
  const { random } = parameters[0]!.device
  const { counter } = random
  const read = () => Promise.all(parameters.map((parameter) => parameter.data() as Promise<Float32Array>))
  const start = await read()
  const restore = () => {
    parameters.forEach((parameter, i) => {
      parameter.write(start[i]!)
    })
    random.counter = counter
  }
  const result = async ([loss, ...others]: Outputs): Promise<{ loss: ArrayLike<number>; changes: Float32Array }> => {
    const found = await loss.data()
    const after = await read()
    disposeAll([loss, ...others])
    restore()
    const changes = new Float32Array(after.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    after.forEach((values, i) => {
      for (const [j, value] of values.entries()) changes[at++] = value - start[i]![j]!
    })
    return { loss: found, changes }
  }
  const expected = await result(run.ops())
  if (expected.changes.every((change) => change === 0)) throw new Error(`${what}: a step leaves all parameters as they were`)
  // The first run is captured, and the second is a replay.
  for (const replay of [await result(run.record()), await result(run.record())]) {
    within(normDifference(replay.loss, expected.loss), LOSS_TOLERANCE, `${what}: the loss of a replayed step`)
    within(normDifference(replay.changes, expected.changes), CHANGE_TOLERANCE, `${what}: the change that a replayed step makes`)
  }
  return async () => {
    const still = (await read()).filter((values, i) => values.every((value, j) => value === start[i]![j]))
    if (still.length === parameters.length) throw new Error(`${what}: the timed steps left all parameters as they were`)
    restore()
    const { loss } = await result(run.record())
    within(normDifference(loss, expected.loss), LOSS_TOLERANCE, `${what}: the loss of a step after the timed ones`)
  }
}
