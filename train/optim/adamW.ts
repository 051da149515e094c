import { adamWStep, fromHost, gradNorm, ParameterArena, type Tensor, tensor, withoutScope, zeros } from '../../engine/index.ts'

export interface AdamWOptions {
  /** Decay of the first and second moment; default [0.9, 0.999]. */
  betas?: readonly [number, number]
  eps?: number
  /** Decoupled weight decay; default 0.05. */
  weightDecay?: number
  /** Which parameters decay; default `decays`. */
  decays?: (name: string, parameter: Tensor) => boolean
}

/** Moments and step counts by parameter name, for a checkpoint. */
export interface AdamWState {
  m: Map<string, Tensor>
  v: Map<string, Tensor>
  steps: Record<string, number>
}

/** Weights of Linear layers decay; biases, LayerNorm, the CLS token and the position embedding do not. */
export function decays(name: string, parameter: Tensor): boolean {
  return parameter.ndim >= 2 && name !== 'clsToken' && name !== 'posEmbedding'
}

/**
 * AdamW (Loshchilov and Hutter, 2019) over all parameters in one dispatch, the gradient clipped by its global norm before.
 * A parameter without gradient is left alone entirely and its step count does not advance, as in PyTorch. A step whose
 * gradient norm is not finite changes nothing.
 */
export class AdamW {
  readonly arena: ParameterArena
  /** Learning rate of the next replay of a captured step. */
  lr = 0
  readonly #names: readonly string[]
  readonly #decays: readonly boolean[]
  readonly #steps: number[]
  readonly #m: Tensor
  readonly #v: Tensor
  readonly #betas: readonly [number, number]
  readonly #eps: number
  readonly #weightDecay: number

  /** Moves the parameters into an arena (they stay the same Tensor objects). */
  constructor(parameters: Iterable<readonly [string, Tensor]>, options: AdamWOptions = {}) {
    const named = [...parameters]
    this.#names = named.map(([name]) => name)
    const applies = options.decays ?? decays
    this.#decays = named.map(([name, parameter]) => applies(name, parameter))
    this.#steps = named.map(() => 0)
    this.arena = new ParameterArena(named.map(([, parameter]) => parameter))
    const { device } = this.arena.values
    // The state outlives the scope that the optimizer is made in.
    const [m, v] = withoutScope(() => [zeros([this.arena.length], { device }), zeros([this.arena.length], { device })])
    this.#m = m!
    this.#v = v!
    this.#betas = options.betas ?? [0.9, 0.999]
    this.#eps = options.eps ?? 1e-8
    this.#weightDecay = options.weightDecay ?? 0.05
  }

  /**
   * Updates every parameter that has a gradient. Every replay of a captured step updates the same ones, with the `lr` set then.
   * @param maxNorm largest global norm of the gradient; Infinity for no clipping
   * @param wholeNorm the global norm, [1], where these parameters are a part of those it is over
   * @returns the norm before clipping, [1]
   */
  step(lr: number, maxNorm = Number.POSITIVE_INFINITY, wholeNorm?: Tensor): Tensor {
    const [beta1, beta2] = this.#betas
    this.arena.gather()
    this.lr = lr
    const { values, gradients, blockSlot, parameters } = this.arena
    const { device } = values
    const active = parameters.map(({ grad }) => grad !== undefined)
    const table = fromHost(() => this.#advance(active), undefined, device)
    const norm = wholeNorm ?? this.#norm(table)
    adamWStep(
      { params: values, grads: gradients, m: this.#m, v: this.#v, blockSlot, slots: table, norm },
      { beta1, beta2, eps: this.#eps, maxNorm },
    )
    return norm
  }

  /** The norm of all gradients there are, [1]. */
  gradNorm(): Tensor {
    this.arena.gather()
    const { values, parameters } = this.arena
    const table = parameters.flatMap(({ grad }) => [0, 0, 0, Number(grad !== undefined)])
    return this.#norm(tensor(table, { device: values.device }))
  }

  #norm(table: Tensor): Tensor {
    const { gradients, blockSlot, values } = this.arena
    const norm = zeros([1], { device: values.device })
    gradNorm(gradients, blockSlot, table, norm)
    return norm
  }

  /** Counts a step of the active parameters: the table that `adamWStep` takes. */
  #advance(active: readonly boolean[]): Float32Array {
    const [beta1, beta2] = this.#betas
    const slots = new Float32Array(4 * active.length)
    active.forEach((updates, i) => {
      if (!updates) return
      const t = ++this.#steps[i]!
      const decay = this.#decays[i] ? this.lr * this.#weightDecay : 0
      slots.set([this.lr / (1 - beta1 ** t), 1 / Math.sqrt(1 - beta2 ** t), decay, 1], 4 * i)
    })
    return slots
  }

  zeroGrad(): void {
    this.arena.zeroGrad()
  }

  /** Frees gradients and moments; the parameters live on. */
  dispose(): void {
    this.arena.dispose()
    this.#m.dispose()
    this.#v.dispose()
  }

  /** Live views of the state; copy before the next step. */
  state(): AdamWState {
    const named = (flat: Tensor) => new Map(this.#names.map((name, i) => [name, this.arena.slot(flat, i)]))
    const steps = Object.fromEntries(this.#names.map((name, i) => [name, this.#steps[i]!]))
    return { m: named(this.#m), v: named(this.#v), steps }
  }

  /** Sets the step count of a parameter; the moments of `state()` are written in place. */
  setSteps(steps: Readonly<Record<string, number>>): void {
    this.#names.forEach((name, i) => {
      this.#steps[i] = steps[name] ?? 0
    })
  }
}
