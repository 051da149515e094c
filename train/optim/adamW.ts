import { gatherGradients, holdArenas } from '../../engine/autograd/arena.ts'
import { zeroGrad } from '../../engine/autograd/backward.ts'
import { checkFunction, refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { ArgumentError, type Device, scope, type Tensor, tensor, withoutScope, zeros } from '../../engine/index.ts'
import { adamWStep, checkAdamW, gradSquares } from '../../engine/ops/adamW.ts'
import { checkOptionalTensor, checkTensor } from '../../engine/tensor/arguments.ts'
import { LossScale } from './lossScale.ts'
import { type MomentPart, momentParts } from './momentPart.ts'
import { branchesOf, type GivenParameter, namedOnce } from './named.ts'

export interface AdamWOptions {
  /** Decay of the first and second moment, each at least 0 and below 1; default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** At least 0; default 1e-8. */
  eps?: number
  /** Decoupled weight decay, at least 0; default 0.05. */
  weightDecay?: number
  /** Which parameters decay; default `decays`. */
  decays?: (name: string, parameter: Tensor) => boolean
  /** What losses are multiplied by before backward; default 1. It belongs to this optimizer, which frees it. */
  lossScale?: LossScale
}

const OPTIONS: OptionNames<AdamWOptions> = { betas: true, eps: true, weightDecay: true, decays: true, lossScale: true }

/** The hyperparameters of an optimizer, none left out. */
export type AdamWSettings = Required<Pick<AdamWOptions, 'betas' | 'eps' | 'weightDecay'>>

/** Moments by parameter name, for a checkpoint. */
export interface AdamWState {
  m: Map<string, Tensor>
  v: Map<string, Tensor>
}

/** Weights of Linear layers decay; biases, LayerNorm, the CLS token and the position embedding do not. @throws ArgumentError for what is no tensor */
export function decays(name: string, parameter: Tensor): boolean {
  checkTensor('decays', parameter)
  return parameter.ndim >= 2 && name !== 'clsToken' && name !== 'posEmbedding'
}

/** Loss scales that an optimizer has. */
const taken = new WeakSet<LossScale>()

/**
 * AdamW (Loshchilov and Hutter, 2019) over all parameters in one dispatch (one for each allocation, where a binding does not hold them
 * all), the gradient clipped by its global norm before. A step whose gradient norm is not finite changes nothing but the loss scale. Step
 * counts live on the device, where that is decided.
 *
 * As in PyTorch, a parameter without gradient, such as a frozen one, is left alone entirely and its step count does not advance; and
 * several optimizers may have parameters in common, which each updates by moments of its own.
 */
export class AdamW {
  /** Each once, in the order given. */
  readonly parameters: readonly Tensor[]
  readonly settings: AdamWSettings
  readonly lossScale: LossScale
  readonly #names: readonly string[]
  readonly #decays: readonly boolean[]
  readonly #parts: readonly MomentPart[]
  /** int32, a row for each parameter, and a last one for what lies between them and belongs to others: it stays as it is. */
  readonly #steps: Tensor
  #lr = 0
  #disposed = false

  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in that of another optimizer. Views made of
   * them before keep the old memory.
   * @param parameters with their names, such as `model.namedParameters()`, or alone: then they are called 0, 1, … One given twice counts
   *   once, under its first name
   * @throws ArgumentError in one line for what is no list of parameters, and for options that do not exist or are out of range; ShapeError
   *   for tensors that are no float32 leaves of one device; OutOfMemoryError for a parameter that no binding of the device holds
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
   * Learning rate of the next replay of a captured step.
   * @throws ArgumentError when it is set to what is no number from 0 to 1e32; Error when it is read for a step after `dispose()`
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
   * Updates every parameter that has a gradient, that of a loss multiplied by `lossScale`; where none has one, nothing happens, as in PyTorch.
   * Every replay of a captured step updates the parameters that had one when it was recorded, with the `lr` set then.
   * @param lr from 0 to 1e32
   * @param maxNorm largest global norm of the gradient; Infinity or 0 for no clipping
   * @param wholeNorm the global norm, [1], where these parameters are a part of those it is over
   * @returns the norm before clipping, that of the loss itself, [1]
   * @throws ArgumentError for numbers out of range; ShapeError for a gradient of another shape than its parameter; Error after `dispose()`,
   *   and for a parameter that was disposed
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

  /** The norm of all gradients there are, that of the loss itself, [1]. */
  gradNorm(): Tensor {
    this.#checkLive('gradNorm')
    return scope(() => {
      const squares = gradSquares(this.#parts, this.#rules('gradNorm'))
      return squares.sum(0, true).sqrt().div(this.lossScale.value)
    })
  }

  /** Puts gradients that lie elsewhere into their places. */
  gather(): void {
    this.#checkLive('gather')
    gatherGradients('AdamW', this.parameters, this.#names)
  }

  /**
   * Values and gradients of some parameters, flat, as they lie in memory: live views.
   * @param parameters that follow each other there
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

  /** Weight decay, and whether there is a gradient, of every parameter. Puts gradients in their places. */
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

  /** Frees the gradients of its parameters. */
  zeroGrad(): void {
    zeroGrad(this.parameters)
  }

  /** Frees the moments, and the gradients unless another optimizer has their parameters; these live on. Calling it twice is allowed. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const part of this.#parts) part.dispose()
    for (const t of [this.#steps, this.lossScale]) t.dispose()
  }

  /** Live views of the moments; copy before the next step. */
  state(): AdamWState {
    this.#checkLive('state')
    const where = this.parameters.map((parameter) => this.#parts.find((part) => part.has(parameter))!)
    const moments = (of: 'm' | 'v') =>
      new Map(this.parameters.map((parameter, i) => [this.#names[i]!, where[i]!.slot(of, parameter)]))
    return { m: moments('m'), v: moments('v') }
  }

  /** Steps taken so far, by parameter name. */
  async steps(): Promise<Record<string, number>> {
    this.#checkLive('steps')
    const counts = await this.#steps.data()
    return Object.fromEntries(this.#names.map((name, i) => [name, counts[i]!]))
  }

  /**
   * Sets the step counts; the moments of `state()` are written in place.
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

/** The loss scale of an optimizer alone. @throws ArgumentError for what is none, and one that another optimizer has; Error on another device */
function claim(given: LossScale | undefined, device: Device): LossScale {
  const scale = given ?? new LossScale({ initial: 1, growthInterval: 0, device })
  if (!(scale instanceof LossScale)) throw refusal('AdamW', scale, 'a LossScale', 'lossScale')
  if (taken.has(scale) || scale.state.disposed)
    throw new ArgumentError('AdamW: the loss scale belongs to another optimizer, whose steps change it; make one for each')
  if (scale.state.device !== device)
    throw new ArgumentError('AdamW: the loss scale is on another device than the parameters; make it with { device }')
  taken.add(scale)
  return scale
}
