import { forget, holdArenas, type ParameterArena } from '../engine/autograd/arena.ts'
import { addAll, backward, scope, type Tensor } from '../engine/index.ts'
import { addInPlace } from '../engine/tensor/copies.ts'
import type { AdamW } from '../train/index.ts'
import { disposeAll, type Outputs } from './outputs.ts'
import { type Replayed, replayed } from './replayed.ts'
import { normDifference } from './statistics.ts'
import { type Prepared, within } from './target.ts'
import { LEARNING_RATE } from './workloads.ts'

/** Change of the loss, relative to it, by which a gradient is checked: large beside rounding, small beside curvature. */
const PROBE = 2e-3
const PROBE_TOLERANCE = 0.05
/** Replays of the same work: the state of an optimizer goes on from step to step, so that its changes are rounded otherwise. */
const LOSS_TOLERANCE = 1e-5
const CHANGE_TOLERANCE = 1e-2

/** Something to train: its parameters, and a loss to differentiate. */
export interface Trainable {
  parameters: readonly (readonly [name: string, parameter: Tensor])[]
  /** A scalar. */
  loss(): Tensor
  /** Plain SGD without one. */
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

  /** Forward, backward and update, recorded at the first call and replayed after it; gives the loss before the update. */
  readonly run: Replayed = replayed(() => this.#step())

  /** Loss and gradients by parameter name, without an update. */
  async gradients(): Promise<{ loss: number; gradients: Record<string, Float32Array> }> {
    const loss = this.#backward()
    const gradients: Record<string, Float32Array> = {}
    for (const [name, parameter] of this.#trainable.parameters) {
      if (!parameter.grad) throw new Error(`${name} got no gradient`)
      gradients[name] = (await parameter.grad.data()) as Float32Array
    }
    forget(this.#parameters)
    const value = await loss.item()
    loss.dispose()
    return { loss: value, gradients }
  }

  /**
   * Compares the gradient with differences of the loss along it.
   * @returns the relative difference
   * @throws Error when it is too large
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
    forget(this.#parameters)
    for (const t of [loss, squares]) t.dispose()
    const slope = (above - below) / (2 * distance)
    return within(Math.abs(slope / norm2 - 1), PROBE_TOLERANCE, `${what}: slope of the loss along its gradient`)
  }

  /** @throws Error unless replayed steps do what the ops of a step do */
  checkReplay(what: string): Promise<void> {
    return checkReplay(what, this.run, this.#parameters)
  }

  /** Frees the parameters and what updates them. */
  dispose(): void {
    this.run.dispose()
    this.#trainable.optimizer?.dispose()
    for (const one of [...this.#arenas, ...this.#parameters]) one.dispose()
  }

  /** @returns the loss before it */
  #step(): Tensor {
    const { optimizer } = this.#trainable
    const loss = this.#trainable.loss()
    backward(loss)
    if (optimizer) optimizer.step(LEARNING_RATE)
    else this.#move(-LEARNING_RATE)
    forget(this.#parameters)
    return loss
  }

  /** Forward and backward. @returns the loss */
  #backward(): Tensor {
    return scope(() => {
      const loss = this.#trainable.loss()
      backward(loss)
      return loss
    })
  }

  /** Moves all parameters along their gradients. */
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
 * Compares what replays of a training step leave with what its ops leave one by one, from the same parameters, to which they return,
 * and the same random numbers.
 * @throws Error unless the first output (the loss) and the change of the parameters are the same
 */
export async function checkReplay(
  what: string,
  run: Pick<Prepared, 'ops' | 'record'>,
  parameters: readonly Tensor[],
): Promise<void> {
  const { random } = parameters[0]!.device
  const { counter } = random
  const read = () => Promise.all(parameters.map((one) => one.data() as Promise<Float32Array>))
  const start = await read()
  const result = async ([loss, ...others]: Outputs): Promise<{ loss: ArrayLike<number>; changes: Float32Array }> => {
    const found = await loss.data()
    const after = await read()
    disposeAll([loss, ...others])
    parameters.forEach((one, i) => {
      one.write(start[i]!)
    })
    random.counter = counter
    const changes = new Float32Array(after.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    after.forEach((values, i) => {
      for (const [j, value] of values.entries()) changes[at++] = value - start[i]![j]!
    })
    return { loss: found, changes }
  }
  const expected = await result(run.ops())
  if (expected.changes.every((one) => one === 0)) throw new Error(`${what}: a step leaves all parameters as they were`)
  // The first is recorded, the second replayed.
  for (const replay of [await result(run.record()), await result(run.record())]) {
    within(normDifference(replay.loss, expected.loss), LOSS_TOLERANCE, `${what}: the loss of a replayed step`)
    within(normDifference(replay.changes, expected.changes), CHANGE_TOLERANCE, `${what}: the change that a replayed step makes`)
  }
}
