import { addInto } from '../engine/accumulate.ts'
import { forget } from '../engine/arena.ts'
import { addAll, backward, capture, holdArenas, type ParameterArena, scope, type Tensor } from '../engine/index.ts'
import type { AdamW } from '../train/index.ts'
import { within } from './target.ts'
import { LEARNING_RATE } from './workloads.ts'

/** Change of the loss, relative to it, by which a gradient is checked: large beside rounding, small beside curvature. */
const PROBE = 2e-3
const PROBE_TOLERANCE = 0.05

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

  /** Forward, backward and update, recorded at the first call and replayed after it. */
  readonly step = capture((): void => {
    const { loss, optimizer } = this.#trainable
    backward(loss())
    if (optimizer) optimizer.step(LEARNING_RATE)
    else this.#move(-LEARNING_RATE)
    forget(this.#parameters)
  })

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

  /** Frees the parameters and what updates them. */
  dispose(): void {
    this.step.dispose()
    this.#trainable.optimizer?.dispose()
    for (const one of [...this.#arenas, ...this.#parameters]) one.dispose()
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
    for (const { values, gradients } of this.#arenas) scope(() => addInto(values, gradients.mul(distance)))
  }

  async #value(): Promise<number> {
    const loss = scope(() => this.#trainable.loss())
    const value = await loss.item()
    loss.dispose()
    return value
  }
}
