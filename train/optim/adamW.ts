import { adamWStep, gradSquares, ParameterArena, scope, type Tensor, tensor, withoutScope, zeros } from '../../engine/index.ts'
import { LossScale } from './lossScale.ts'

export interface AdamWOptions {
  /** Decay of the first and second moment; default [0.9, 0.999]. */
  betas?: readonly [number, number]
  eps?: number
  /** Decoupled weight decay; default 0.05. */
  weightDecay?: number
  /** Which parameters decay; default `decays`. */
  decays?: (name: string, parameter: Tensor) => boolean
  /** What losses are multiplied by before backward; default 1. The optimizer frees it. */
  lossScale?: LossScale
}

/** The hyperparameters of an optimizer, none left out. */
export type AdamWSettings = Required<Pick<AdamWOptions, 'betas' | 'eps' | 'weightDecay'>>

/** Moments by parameter name, for a checkpoint. */
export interface AdamWState {
  m: Map<string, Tensor>
  v: Map<string, Tensor>
}

/** Weights of Linear layers decay; biases, LayerNorm, the CLS token and the position embedding do not. */
export function decays(name: string, parameter: Tensor): boolean {
  return parameter.ndim >= 2 && name !== 'clsToken' && name !== 'posEmbedding'
}

/**
 * AdamW (Loshchilov and Hutter, 2019) over all parameters in one dispatch, the gradient clipped by its global norm before.
 * A parameter without gradient is left alone entirely and its step count does not advance, as in PyTorch. A step whose
 * gradient norm is not finite changes nothing but the loss scale. Step counts live on the device, where that is decided.
 */
export class AdamW {
  readonly arena: ParameterArena
  readonly settings: AdamWSettings
  readonly lossScale: LossScale
  /** Learning rate of the next replay of a captured step. */
  lr = 0
  readonly #names: readonly string[]
  readonly #decays: readonly boolean[]
  /** int32 [parameters] */
  readonly #steps: Tensor
  readonly #m: Tensor
  readonly #v: Tensor

  /** Moves the parameters into an arena (they stay the same Tensor objects). */
  constructor(parameters: Iterable<readonly [string, Tensor]>, options: AdamWOptions = {}) {
    const named = [...parameters]
    this.#names = named.map(([name]) => name)
    const applies = options.decays ?? decays
    this.#decays = named.map(([name, parameter]) => applies(name, parameter))
    this.arena = new ParameterArena(named.map(([, parameter]) => parameter))
    for (const [name, parameter] of named) parameter.version.label = name
    const { device } = this.arena.values
    // The state outlives the scope that the optimizer is made in.
    const { length } = this.arena
    const [m, v, steps] = withoutScope(() => [
      zeros([length], { device }),
      zeros([length], { device }),
      zeros([named.length], { dtype: 'int32', device }),
    ])
    this.#m = m!
    this.#v = v!
    this.#steps = steps!
    this.lossScale = options.lossScale ?? new LossScale({ initial: 1, growthInterval: 0, device })
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.05 } = options
    this.settings = { betas, eps, weightDecay }
  }

  /**
   * Updates every parameter that has a gradient, that of a loss multiplied by `lossScale`. Every replay of a captured step updates the
   * same ones, with the `lr` set then.
   * @param maxNorm largest global norm of the gradient; Infinity for no clipping
   * @param wholeNorm the global norm, [1], where these parameters are a part of those it is over
   * @returns the norm before clipping, that of the loss itself, [1]
   */
  step(lr: number, maxNorm = Number.POSITIVE_INFINITY, wholeNorm?: Tensor): Tensor {
    const { betas, eps } = this.settings
    const [beta1, beta2] = betas
    const { growthInterval, state, value } = this.lossScale
    this.lr = lr
    return scope(() => {
      const rules = this.#rules()
      const { values: params, gradients: grads, blockSlot } = this.arena
      const scaled = wholeNorm?.mul(value)
      const squares = scaled ? scaled.mul(scaled) : gradSquares(grads, blockSlot, rules)
      return adamWStep(
        { params, grads, m: this.#m, v: this.#v, blockSlot, rules, squares, steps: this.#steps, lossScale: state },
        { lr, beta1, beta2, eps, maxNorm, growthInterval },
        () => this.lr,
      )
    })
  }

  /** The norm of all gradients there are, that of the loss itself, [1]. */
  gradNorm(): Tensor {
    return scope(() => {
      const squares = gradSquares(this.arena.gradients, this.arena.blockSlot, this.#rules())
      return squares.sum(0, true).sqrt().div(this.lossScale.value)
    })
  }

  /** Weight decay, and whether there is a gradient, of every parameter. Puts gradients in their places. */
  #rules(): Tensor {
    this.arena.gather()
    const { parameters, values } = this.arena
    const rules = parameters.flatMap(({ grad }, i) => [
      this.#decays[i] ? this.settings.weightDecay : 0,
      Number(grad !== undefined),
    ])
    return tensor(rules, { device: values.device })
  }

  zeroGrad(): void {
    this.arena.zeroGrad()
  }

  /** Frees gradients and moments; the parameters live on. */
  dispose(): void {
    this.arena.dispose()
    for (const t of [this.#m, this.#v, this.#steps, this.lossScale]) t.dispose()
  }

  /** Live views of the moments; copy before the next step. */
  state(): AdamWState {
    const named = (flat: Tensor) => new Map(this.#names.map((name, i) => [name, this.arena.slot(flat, i)]))
    return { m: named(this.#m), v: named(this.#v) }
  }

  /** Steps taken so far, by parameter name. */
  async steps(): Promise<Record<string, number>> {
    const counts = await this.#steps.data()
    return Object.fromEntries(this.#names.map((name, i) => [name, counts[i]!]))
  }

  /** Sets the step counts; the moments of `state()` are written in place. */
  setSteps(steps: Readonly<Record<string, number>>): void {
    this.#steps.write(Int32Array.from(this.#names, (name) => steps[name] ?? 0))
  }
}
