import { checkFunction, checkText } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { ArgumentError, Tensor } from '../../engine/index.ts'
import { checkHyperparameters } from '../../engine/ops/optimizerStep.ts'
import { checkTensor } from '../../engine/tensor/arguments.ts'
import { type GivenParameter, namedOnce } from './named.ts'

/** Options that every optimizer takes for all of its parameters or for a group of them. */
export interface GroupOptions {
  /** Weight decay, at least 0. */
  weightDecay?: number
  /** Whether a parameter decays; default `decays`. */
  decays?: (name: string, parameter: Tensor) => boolean
}

/** Parameters with options of their own; what it leaves out is as the optimizer's options say. */
export type ParameterGroup<Options extends GroupOptions = GroupOptions> = Options & {
  /** Parameters with or without names, as for the whole optimizer. */
  parameters: Iterable<GivenParameter>
  /** The group's learning rate, from 0 to 1e32, in place of that of `step`. */
  lr?: number
  /** A factor of the learning rate of `step`, from 0 to 1e6; default 1. */
  lrScale?: number
}

/** The parameters of an optimizer, in groups or not. */
export type OptimizerParameters<Options extends GroupOptions = GroupOptions> =
  | Iterable<GivenParameter>
  | Iterable<ParameterGroup<Options>>

/** The learning rate of a group of an optimizer's parameters. */
export class OptimizerGroup {
  readonly parameters: readonly Tensor[]
  readonly #op: string
  #lr: number | undefined
  #lrScale: number

  constructor(op: string, parameters: readonly Tensor[], lr: number | undefined, lrScale: number) {
    checkHyperparameters(op, { ...(lr !== undefined && { lr }), lrScale })
    this.#op = op
    this.parameters = parameters
    this.#lr = lr
    this.#lrScale = lrScale
  }

  /**
   * The group's own learning rate; undefined for `lrScale` times that of the optimizer. Captured steps follow it.
   * @throws ArgumentError when it is set to anything but undefined or a number from 0 to 1e32
   */
  get lr(): number | undefined {
    return this.#lr
  }

  set lr(lr: number | undefined) {
    if (lr !== undefined) checkHyperparameters(this.#op, { lr })
    this.#lr = lr
  }

  /** @throws ArgumentError when it is set to anything but a number from 0 to 1e6 */
  get lrScale(): number {
    return this.#lrScale
  }

  set lrScale(lrScale: number) {
    checkHyperparameters(this.#op, { lrScale })
    this.#lrScale = lrScale
  }

  /** Returns the group's learning rate where that of the optimizer is `lr`. */
  rate(lr: number): number {
    return this.#lr ?? lr * this.#lrScale
  }
}

/** A parameter of an optimizer. */
export interface Member<Options> {
  name: string
  parameter: Tensor
  group: OptimizerGroup
  decays: boolean
  /** The options of its group, completed by those of the optimizer. */
  options: Options
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

/**
 * Takes the parameters of an optimizer apart, each once, under its first name.
 * @param known the options of a group
 * @throws ArgumentError in one line unless `given` is a list of parameters or of groups of them, for a parameter of two groups, and for
 *   options that do not exist or are out of range
 */
export function membersOf<Options extends GroupOptions>(
  op: string,
  given: OptimizerParameters<Options>,
  options: Options,
  known: OptionNames<Options>,
): { groups: OptimizerGroup[]; members: Member<Options>[] } {
  const owner = new Map<Tensor, number>()
  const names = new Set<string>()
  const members: Member<Options>[] = []
  const groups = groupsIn(op, given).map((group, at) => {
    checkOptions<object>(op, group, { ...known, parameters: true, lr: true, lrScale: true })
    const { parameters, lr, lrScale = 1, ...own } = group
    const pairs = namedOnce(op, parameters, owner.size)
    const made = new OptimizerGroup(
      op,
      pairs.map(([, parameter]) => parameter),
      lr,
      lrScale,
    )
    const all = { ...options, ...own } as unknown as Options
    if (all.decays !== undefined) checkFunction(op, all.decays, 'decays')
    if (all.weightDecay !== undefined) checkHyperparameters(op, { weightDecay: all.weightDecay })
    for (const [name, parameter] of pairs) {
      if (owner.has(parameter))
        throw new ArgumentError(`${op}: ${name} is in groups ${owner.get(parameter)} and ${at}; a parameter has one group`)
      if (names.has(name))
        throw new ArgumentError(`${op}: two parameters are called ${JSON.stringify(name)}; give each a name of its own`)
      owner.set(parameter, at)
      names.add(name)
    }
    members.push(...pairs.map(([name, parameter]) => ({ name, parameter, group: made, options: all, decays: false })))
    return made
  })
  return { groups, members }
}

/** Asks for every member whether it decays. */
export function decideDecay<Options extends GroupOptions>(members: readonly Member<Options>[]): void {
  for (const member of members) {
    const applies = member.options.decays ?? decays
    member.decays = applies(member.name, member.parameter)
  }
}

/** Returns the groups of a list that begins with one, or the whole list as one group. */
function groupsIn<Options extends GroupOptions>(op: string, given: OptimizerParameters<Options>): ParameterGroup<Options>[] {
  const isList = typeof given === 'object' && given !== null && Symbol.iterator in given
  const items: unknown[] = isList && typeof given !== 'string' ? [...(given as Iterable<unknown>)] : []
  if (!items.some(isGroup)) {
    const parameters = (isList ? items : given) as Iterable<GivenParameter>
    return [{ parameters } as ParameterGroup<Options>]
  }
  const stranger = items.findIndex((item) => !isGroup(item))
  if (stranger >= 0)
    throw new ArgumentError(`${op}: item ${stranger} is no group, other items are; give groups alone, or parameters alone`)
  return items as ParameterGroup<Options>[]
}

function isGroup(item: unknown): boolean {
  return typeof item === 'object' && item !== null && !(item instanceof Tensor) && !Array.isArray(item) && 'parameters' in item
}
