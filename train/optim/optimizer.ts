import { gatherGradients, holdArenas, type ParameterArena } from '../../engine/autograd/arena.ts'
import { zeroGrad } from '../../engine/autograd/backward.ts'
import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { ArgumentError, type Device, fromHost, scope, type Tensor, withoutScope, zeros } from '../../engine/index.ts'
import { checkHyperparameters, gradSquares, INACTIVE, type StepRule, setUpStep } from '../../engine/ops/optimizerStep.ts'
import { checkOptionalTensor } from '../../engine/tensor/arguments.ts'
import { entriesOf, load, type StateSource } from '../../model/stateDict.ts'
import {
  decideDecay,
  type GroupOptions,
  type Member,
  membersOf,
  type OptimizerGroup,
  type OptimizerParameters,
} from './groups.ts'
import { LossScale } from './lossScale.ts'
import { branchesOf } from './named.ts'
import { StepPart } from './stepPart.ts'

/** Options of an optimizer besides those that a group can have. */
export interface OptimizerOptions {
  /** The factor of losses before backward; default 1. The optimizer takes it over and frees it. */
  lossScale?: LossScale
}

/** How some parameters are updated. Those of one key are updated together, by one dispatch for each arena. */
export interface Treatment {
  key: string
  /** The names of the moments that each parameter has. */
  moments: readonly string[]
  /** Returns the rule of a parameter for a step with learning rate `lr`. @param decay the weight decay */
  rule(lr: number, decay: number): StepRule
  /** Makes further tensors that a step reads. */
  tables?(part: StepPart): Record<string, Tensor>
  /** Updates the parameters of a part, as the table of `setUpStep` says. */
  step(part: StepPart, slots: Tensor): void
}

/** Loss scales that belong to an optimizer. */
const taken = new WeakSet<LossScale>()

/**
 * All optimizers share this: parameters lie side by side, so that a dispatch updates all that are treated alike, the norm of their
 * gradient, clipping, the loss scale, step counts and saved state. A step whose gradient norm is not finite changes nothing but the loss
 * scale. The device decides that, so step counts live there.
 *
 * As in PyTorch, a parameter without gradient, such as a frozen one, stays as it is and its step count does not advance. Several
 * optimizers may share parameters, which each of them updates with its own moments.
 */
export abstract class Optimizer<Options extends GroupOptions = GroupOptions> {
  /** The parameters, each once, in the order of the constructor's argument. */
  readonly parameters: readonly Tensor[]
  /** The groups of the constructor's argument; one of all parameters if that has none. */
  readonly groups: readonly OptimizerGroup[]
  readonly lossScale: LossScale
  readonly #op: string
  readonly #members: readonly Member<Options>[]
  readonly #treatments: readonly Treatment[]
  readonly #weightDecays: readonly number[]
  readonly #arenas: readonly ParameterArena[]
  readonly #parts: readonly (readonly [treatment: Treatment, part: StepPart])[]
  /** int32 step counts, a row for each parameter, and a last row for memory between them that belongs to others and stays as it is. */
  readonly #steps: Tensor
  #lr = 0
  #disposed = false

  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in the arena of another optimizer.
   * Earlier views of them keep the old memory.
   * @param op the name of the class
   * @param known the options that a group can have
   * @param treat says how a parameter is updated, and its weight decay where it decays
   * @internal
   */
  protected constructor(
    op: string,
    parameters: OptimizerParameters<Options>,
    options: Options & OptimizerOptions,
    known: OptionNames<Options>,
    treat: (member: Member<Options>) => { treatment: Treatment; weightDecay: number },
  ) {
    checkOptions<object>(op, options, { ...known, lossScale: true })
    const { lossScale, ...shared } = options
    const { groups, members } = membersOf(op, parameters, shared as unknown as Options, known)
    const treated = members.map(treat)
    this.#op = op
    this.#members = members
    this.groups = groups
    this.#treatments = treated.map(({ treatment }) => treatment)
    this.parameters = members.map(({ parameter }) => parameter)
    const pairs = members.map(({ name, parameter }) => [name, parameter] as const)
    this.#arenas = holdArenas(op, this.parameters, { names: this.#names, branches: branchesOf(pairs) })
    try {
      const { device } = this.parameters[0]!
      decideDecay(members)
      this.#weightDecays = treated.map(({ weightDecay }, i) => (members[i]!.decays ? weightDecay : 0))
      for (const [name, { version }] of pairs) version.label ||= name
      this.lossScale = claim(op, lossScale, device)
      this.#parts = this.#partsOf()
      // The state outlives the scope that the optimizer is made in.
      const rows = this.parameters.length + Number(this.#parts.some(([, { hasOthers }]) => hasOthers))
      this.#steps = withoutScope(() => zeros([rows], { dtype: 'int32', device }))
    } catch (error) {
      for (const arena of this.#arenas) arena.dispose()
      throw error
    }
  }

  get #names(): string[] {
    return this.#members.map(({ name }) => name)
  }

  /** Makes a part for each arena and each way of treating its parameters. */
  #partsOf(): [Treatment, StepPart][] {
    const treatments = new Map(this.#treatments.map((treatment) => [treatment.key, treatment]))
    return this.#arenas.flatMap((arena) => {
      const among = new Set(arena.parameters)
      return [...treatments.values()].flatMap((treatment): [Treatment, StepPart][] => {
        const own = this.parameters.flatMap((parameter, row): [Tensor, number][] =>
          among.has(parameter) && this.#treatments[row]!.key === treatment.key ? [[parameter, row]] : [],
        )
        if (own.length === 0) return []
        return [[treatment, new StepPart(arena, new Map(own), this.parameters.length, treatment.moments, treatment.tables)]]
      })
    })
  }

  /**
   * The learning rate of the next replay of a captured step; groups may have their own.
   * @throws ArgumentError when it is set to anything but a number from 0 to 1e32; Error when it is read after `dispose()`
   */
  get lr(): number {
    this.#checkLive('lr')
    return this.#lr
  }

  set lr(lr: number) {
    checkHyperparameters(this.#op, { lr })
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
    checkOptionalTensor(`${this.#op}.step`, wholeNorm, 'wholeNorm')
    this.#checkLive('step')
    this.lr = lr
    const { growthInterval, state, value } = this.lossScale
    checkHyperparameters(`${this.#op}.step`, { maxNorm })
    return scope(() => {
      const rules = this.#rules('step')
      const scaled = wholeNorm?.mul(value)
      const squares = scaled ? scaled.mul(scaled) : this.#squares(rules)
      const tensors = { rules, squares, steps: this.#steps, lossScale: state }
      const { slots, norm } = setUpStep(tensors, { maxNorm, growthInterval })
      for (const [treatment, part] of this.#parts) treatment.step(part, slots)
      return norm
    })
  }

  /** Computes the global norm of the gradients, [1], without the loss scale. */
  gradNorm(): Tensor {
    this.#checkLive('gradNorm')
    return scope(() => this.#squares(this.#rules('gradNorm')).sum(0, true).sqrt().div(this.lossScale.value))
  }

  #squares(rules: Tensor): Tensor {
    return gradSquares(
      this.#parts.map(([, part]) => part),
      rules,
    )
  }

  /** Copies gradients that lie elsewhere into the arena. */
  gather(): void {
    this.#checkLive('gather')
    gatherGradients(this.#op, this.parameters, this.#names)
  }

  /**
   * Returns live views of the values and gradients of some parameters, flat, as they lie in memory.
   * @param parameters must be consecutive in memory
   */
  flat(parameters: readonly Tensor[]): { values: Tensor; gradients: Tensor } {
    this.#checkLive('flat')
    const [first, last] = [parameters[0]!, parameters.at(-1)!]
    const arena = this.#arenas.find((arena) => arena.parameters.includes(first))!
    const at = arena.indexOf(first)
    if (arena.indexOf(last) !== at + parameters.length - 1)
      throw new Error(
        `${this.#op}.flat: the parameters lie apart, since an earlier optimizer has some of them; dispose that first`,
      )
    const [values, gradients] = [arena.values, arena.gradients].map((whole) =>
      arena.span(whole, at, at + parameters.length - 1),
    )
    return { values: values!, gradients: gradients! }
  }

  /** Gathers gradients. @returns the rules of a step, which every replay of a capture makes anew; without gradient a parameter takes no part */
  #rules(what: string): Tensor {
    this.gather()
    const active = this.#members.map(({ name, parameter }) => {
      if (parameter.disposed) throw new Error(`${this.#op}.${what}: the parameter ${name} was disposed; make a new optimizer`)
      return parameter.grad !== undefined
    })
    const { device, size } = this.#steps
    const compute = () => {
      const { lr } = this
      const rules = new Float32Array(4 * size)
      for (let row = 0; row < size; row++) {
        const rule = active[row]
          ? this.#treatments[row]!.rule(this.#members[row]!.group.rate(lr), this.#weightDecays[row]!)
          : INACTIVE
        rules.set(rule, 4 * row)
      }
      return rules
    }
    return fromHost(compute, [size, 4], device)
  }

  /** Clears the gradients of the parameters. */
  zeroGrad(): void {
    zeroGrad(this.parameters)
  }

  /** Frees the moments, and the gradients unless another optimizer has their parameters. The parameters live on. It may be called twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const [, part] of this.#parts) part.dispose()
    for (const arena of this.#arenas) arena.dispose()
    for (const t of [this.#steps, this.lossScale]) t.dispose()
  }

  /** Returns live views of moments, which the next step changes, by the names of the moments and the parameters. */
  protected moments(): Record<string, Map<string, Tensor>> {
    this.#checkLive('state')
    const found: Record<string, Map<string, Tensor>> = {}
    for (const [row, { name, parameter }] of this.#members.entries()) {
      const part = this.#parts.find(
        ([treatment, part]) => treatment.key === this.#treatments[row]!.key && part.has(parameter),
      )![1]
      for (const [of, flat] of Object.entries(part.moments)) {
        found[of] ??= new Map()
        found[of].set(name, part.slot(flat, parameter))
      }
    }
    return found
  }

  /** Returns live views of the moments, which the next step changes, by the names of the moments and the parameters. */
  abstract state(): Record<string, Map<string, Tensor>>

  /** Reads the number of steps so far, by parameter name. */
  async steps(): Promise<Record<string, number>> {
    this.#checkLive('steps')
    const counts = await this.#steps.data()
    return Object.fromEntries(this.#members.map(({ name }, i) => [name, counts[i]!]))
  }

  /**
   * Sets the step counts by parameter name; missing ones become 0. (Moments are set by writing to those of `state()`.)
   * @throws ArgumentError for a count that is no whole number of at least 0
   */
  setSteps(steps: Readonly<Record<string, number>>): void {
    this.#checkLive('setSteps')
    if (typeof steps !== 'object' || steps === null) throw refusal(`${this.#op}.setSteps`, steps, 'counts by name')
    const counts = new Int32Array(this.#steps.size)
    for (const [i, { name }] of this.#members.entries()) {
      const count = Object.hasOwn(steps, name) ? steps[name]! : 0
      if (!(Number.isInteger(count) && count >= 0 && count < 2 ** 31))
        throw refusal(`${this.#op}.setSteps`, count, 'a whole number of at least 0', name)
      counts[i] = count
    }
    this.#steps.write(counts)
  }

  /**
   * Returns live views of all that a resumed run needs, by names such as `m.head.weight`, beside `steps` (int32 counts in the order of
   * `parameters`) and `lossScale`. The next step changes them.
   */
  stateDict(): Record<string, Tensor> {
    const moments = Object.entries(this.state()).flatMap(([of, tensors]) =>
      [...tensors].map(([name, t]): [string, Tensor] => [`${of}.${name}`, t]),
    )
    const steps = this.#steps.slice([[0, this.parameters.length]])
    return Object.fromEntries([...moments, ['steps', steps], ['lossScale', this.lossScale.state.detach()]])
  }

  /**
   * Overwrites moments, step counts and the loss scale, so that training goes on with the same bits. Everything is checked first.
   * @param source of an optimizer of the same class, over parameters of the same names and shapes
   * @throws UserError in one line that names what is missing, unknown or of another shape or dtype
   */
  loadStateDict(source: StateSource): void {
    this.#checkLive('loadStateDict')
    const op = `${this.#op}.loadStateDict`
    scope(() => {
      load(new Map(Object.entries(this.stateDict())), entriesOf(op, source), {
        problem: `${op}: the state does not fit`,
        owner: 'the optimizer',
        advice: 'use that of an optimizer with these parameters',
      })
    })
  }

  #checkLive(what: string): void {
    if (this.#disposed) throw new Error(`${this.#op}.${what}: the optimizer was disposed; make a new one`)
  }
}

/**
 * Takes over a loss scale for an optimizer; default a constant 1.
 * @throws ArgumentError unless `lossScale` is a LossScale of this device that no other optimizer has
 */
function claim(op: string, lossScale: LossScale | undefined, device: Device): LossScale {
  const scale = lossScale ?? new LossScale({ initial: 1, growthInterval: 0, device })
  if (!(scale instanceof LossScale)) throw refusal(op, scale, 'a LossScale', 'lossScale')
  if (taken.has(scale) || scale.state.disposed)
    throw new ArgumentError(`${op}: the loss scale belongs to another optimizer, whose steps change it; make one for each`)
  if (scale.state.device !== device)
    throw new ArgumentError(`${op}: the loss scale is on another device than the parameters; make it with { device }`)
  taken.add(scale)
  return scale
}
