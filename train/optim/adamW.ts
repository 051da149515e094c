import { gatherGradients, holdArenas } from '../../engine/autograd/arena.ts'
import { zeroGrad } from '../../engine/autograd/backward.ts'
import { checkFunction, checkText, refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { ArgumentError, type Device, scope, type Tensor, tensor, withoutScope, zeros } from '../../engine/index.ts'
import { adamWStep, checkAdamW, gradSquares } from '../../engine/ops/adamW.ts'
import { checkOptionalTensor, checkTensor } from '../../engine/tensor/arguments.ts'
import { LossScale } from './lossScale.ts'
import { type MomentPart, momentParts } from './momentPart.ts'
import { branchesOf, type GivenParameter, namedOnce } from './named.ts'

export interface AdamWOptions {
  /** Decay rates of the first and second moment, each at least 0 and below 1; default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** At least 0; default 1e-8. */
  eps?: number
  /** Decoupled weight decay, at least 0; default 0.05. */
  weightDecay?: number
  /** Whether a parameter decays; default `decays`. */
  decays?: (name: string, parameter: Tensor) => boolean
  /** The factor of losses before backward; default 1. The optimizer takes it over and frees it. */
  lossScale?: LossScale
}

const OPTIONS: OptionNames<AdamWOptions> = { betas: true, eps: true, weightDecay: true, decays: true, lossScale: true }

/** The complete hyperparameters of an optimizer. */
export type AdamWSettings = Required<Pick<AdamWOptions, 'betas' | 'eps' | 'weightDecay'>>

/** Moments by parameter name, for a checkpoint. */
export interface AdamWState {
  m: Map<string, Tensor>
  v: Map<string, Tensor>
}

/**
 * Whether a parameter decays: weights of Linear layers do; biases, LayerNorm, the CLS token and the position embedding do not.
 * @throws ArgumentError unless `name` is a text and `parameter` a tensor
 */
export function decays(name: string, parameter: Tensor): boolean {
  checkText('decays', name, 'name')
  checkTensor('decays', parameter)
  return parameter.ndim >= 2 && !/(^|\.)(clsToken|posEmbedding)$/.test(name)
}

/** Loss scales that belong to an optimizer. */
const taken = new WeakSet<LossScale>()

/**
 * AdamW (arXiv 1711.05101) over all parameters in one dispatch, or one for each allocation when a binding does not hold them all. The
 * gradient is clipped by its global norm first. A step whose gradient norm is not finite changes nothing but the loss scale. The device
 * decides that, so step counts live there.
 *
 * As in PyTorch, a parameter without gradient, such as a frozen one, stays as it is and its step count does not advance. Several
 * optimizers may share parameters, which each of them updates with its own moments.
 */
export class AdamW {
  /** The parameters, each once, in the order of the constructor's argument. */
  readonly parameters: readonly Tensor[]
  readonly settings: AdamWSettings
  readonly lossScale: LossScale
  readonly #names: readonly string[]
  readonly #decays: readonly boolean[]
  readonly #parts: readonly MomentPart[]
  /** int32 step counts, a row for each parameter, and a last row for memory between them that belongs to others and stays as it is. */
  readonly #steps: Tensor
  #lr = 0
  #disposed = false

  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in the arena of another optimizer.
   * Earlier views of them keep the old memory.
   * @param parameters with their names, such as `model.namedParameters()`, or without, when they are called 0, 1, … A parameter
   *   that appears twice counts once, under its first name
   * @throws ArgumentError in one line unless `parameters` is a list of parameters, and for options that do not exist or are out
   *   of range; ShapeError for tensors that are no float32 leaves of one device; OutOfMemoryError for a parameter that no
   *   binding of the device holds
   */
  constructor(parameters: Iterable<GivenParameter>, options: AdamWOptions = {}) {
    checkOptions('AdamW', options, OPTIONS)
    this.settings = settingsOf(options)
    if (options.decays !== undefined) checkFunction('AdamW', options.decays, 'decays')
    const pairs = namedOnce('AdamW', parameters)
    this.#names = pairs.map(([name]) => name)
    this.parameters = pairs.map(([, parameter]) => parameter)
    const arenas = holdArenas('AdamW', this.parameters, { names: this.#names, branches: branchesOf(pairs) })
    try {
      const { device } = this.parameters[0]!
      const applies = options.decays ?? decays
      this.#decays = pairs.map(([name, parameter]) => applies(name, parameter))
      for (const [name, { version }] of pairs) version.label ||= name
      this.lossScale = claim(options.lossScale, device)
      this.#parts = momentParts(arenas, this.parameters)
      // The state outlives the scope that the optimizer is made in.
      const rows = this.parameters.length + Number(this.#parts.some(({ hasOthers }) => hasOthers))
      this.#steps = withoutScope(() => zeros([rows], { dtype: 'int32', device }))
    } catch (error) {
      for (const arena of arenas) arena.dispose()
      throw error
    }
  }

  /**
   * The learning rate of the next replay of a captured step.
   * @throws ArgumentError when it is set to anything but a number from 0 to 1e32; Error when it is read after `dispose()`
   */
  get lr(): number {
    this.#checkLive('lr')
    return this.#lr
  }

  set lr(lr: number) {
    checkAdamW('AdamW', { lr })
    this.#lr = lr
  }

  /**
   * Updates every parameter that has a gradient, which is that of the loss times `lossScale`. Without any gradient nothing happens, as in
   * PyTorch. A replay of a captured step updates the parameters that had a gradient at the capture, with the current `lr`.
   * @param lr from 0 to 1e32
   * @param maxNorm largest global norm of the gradient; Infinity or 0 for no clipping
   * @param wholeNorm the global norm, [1], when other optimizers have the rest of the parameters; default that of these parameters
   * @returns the norm, [1], before clipping and without the loss scale
   * @throws ArgumentError for numbers out of range; ShapeError for a gradient of another shape than its parameter; Error after `dispose()`,
   *   and for a disposed parameter
   */
  step(lr: number, maxNorm = Number.POSITIVE_INFINITY, wholeNorm?: Tensor): Tensor {
    checkOptionalTensor('AdamW.step', wholeNorm, 'wholeNorm')
    this.#checkLive('step')
    this.lr = lr
    const { betas, eps } = this.settings
    const [beta1, beta2] = betas
    const { growthInterval, state, value } = this.lossScale
    checkAdamW('AdamW.step', { maxNorm })
    return scope(() => {
      const rules = this.#rules('step')
      const scaled = wholeNorm?.mul(value)
      const squares = scaled ? scaled.mul(scaled) : gradSquares(this.#parts, rules)
      return adamWStep(
        { arenas: this.#parts, rules, squares, steps: this.#steps, lossScale: state },
        { lr, beta1, beta2, eps, maxNorm, growthInterval },
        () => this.lr,
      )
    })
  }

  /** Computes the global norm of the gradients, [1], without the loss scale. */
  gradNorm(): Tensor {
    this.#checkLive('gradNorm')
    return scope(() => {
      const squares = gradSquares(this.#parts, this.#rules('gradNorm'))
      return squares.sum(0, true).sqrt().div(this.lossScale.value)
    })
  }

  /** Copies gradients that lie elsewhere into the arena. */
  gather(): void {
    this.#checkLive('gather')
    gatherGradients('AdamW', this.parameters, this.#names)
  }

  /**
   * Returns live views of the values and gradients of some parameters, flat, as they lie in memory.
   * @param parameters must be consecutive in memory
   */
  flat(parameters: readonly Tensor[]): { values: Tensor; gradients: Tensor } {
    this.#checkLive('flat')
    const [first, last] = [parameters[0]!, parameters.at(-1)!]
    const { arena } = this.#parts.find(({ arena }) => arena.parameters.includes(first))!
    const at = arena.indexOf(first)
    if (arena.indexOf(last) !== at + parameters.length - 1)
      throw new Error('AdamW.flat: the parameters lie apart, since an earlier optimizer has some of them; dispose that first')
    const [values, gradients] = [arena.values, arena.gradients].map((whole) =>
      arena.span(whole, at, at + parameters.length - 1),
    )
    return { values: values!, gradients: gradients! }
  }

  /** Gathers gradients. @returns for each parameter its weight decay, and 1 if it has a gradient, else 0 */
  #rules(what: string): Tensor {
    this.gather()
    const { device } = this.#steps
    const rules = new Float32Array(2 * this.#steps.size)
    for (const [i, parameter] of this.parameters.entries()) {
      if (parameter.disposed)
        throw new Error(`AdamW.${what}: the parameter ${this.#names[i]} was disposed; make a new optimizer`)
      if (!parameter.grad) continue
      rules[2 * i] = this.#decays[i] ? this.settings.weightDecay : 0
      rules[2 * i + 1] = 1
    }
    return tensor(rules, { device })
  }

  /** Clears the gradients of the parameters. */
  zeroGrad(): void {
    zeroGrad(this.parameters)
  }

  /** Frees the moments, and the gradients unless another optimizer has their parameters. The parameters live on. It may be called twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const part of this.#parts) part.dispose()
    for (const t of [this.#steps, this.lossScale]) t.dispose()
  }

  /** Returns live views of the moments, which the next step changes. */
  state(): AdamWState {
    this.#checkLive('state')
    const where = this.parameters.map((parameter) => this.#parts.find((part) => part.has(parameter))!)
    const moments = (of: 'm' | 'v') =>
      new Map(this.parameters.map((parameter, i) => [this.#names[i]!, where[i]!.slot(of, parameter)]))
    return { m: moments('m'), v: moments('v') }
  }

  /** Reads the number of steps so far, by parameter name. */
  async steps(): Promise<Record<string, number>> {
    this.#checkLive('steps')
    const counts = await this.#steps.data()
    return Object.fromEntries(this.#names.map((name, i) => [name, counts[i]!]))
  }

  /**
   * Sets the step counts by parameter name; missing ones become 0. (Moments are set by writing to those of `state()`.)
   * @throws ArgumentError for a count that is no whole number of at least 0
   */
  setSteps(steps: Readonly<Record<string, number>>): void {
    this.#checkLive('setSteps')
    if (typeof steps !== 'object' || steps === null) throw refusal('AdamW.setSteps', steps, 'counts by name')
    const counts = new Int32Array(this.#steps.size)
    for (const [i, name] of this.#names.entries()) {
      const count = Object.hasOwn(steps, name) ? steps[name]! : 0
      if (!(Number.isInteger(count) && count >= 0 && count < 2 ** 31))
        throw refusal('AdamW.setSteps', count, 'a whole number of at least 0', name)
      counts[i] = count
    }
    this.#steps.write(counts)
  }

  #checkLive(what: string): void {
    if (this.#disposed) throw new Error(`AdamW.${what}: the optimizer was disposed; make a new one`)
  }
}

/** @throws ArgumentError for hyperparameters that are out of range */
function settingsOf({ betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.05 }: AdamWOptions): AdamWSettings {
  if (!Array.isArray(betas) || betas.length !== 2) throw refusal('AdamW', betas, 'two numbers, such as [0.9, 0.999]', 'betas')
  checkAdamW('AdamW', { beta1: betas[0], beta2: betas[1], eps, weightDecay })
  return { betas, eps, weightDecay }
}

/**
 * Takes over a loss scale for an optimizer; default a constant 1.
 * @throws ArgumentError unless `lossScale` is a LossScale of this device that no other optimizer has
 */
function claim(lossScale: LossScale | undefined, device: Device): LossScale {
  const scale = lossScale ?? new LossScale({ initial: 1, growthInterval: 0, device })
  if (!(scale instanceof LossScale)) throw refusal('AdamW', scale, 'a LossScale', 'lossScale')
  if (taken.has(scale) || scale.state.disposed)
    throw new ArgumentError('AdamW: the loss scale belongs to another optimizer, whose steps change it; make one for each')
  if (scale.state.device !== device)
    throw new ArgumentError('AdamW: the loss scale is on another device than the parameters; make it with { device }')
  taken.add(scale)
  return scale
}
