import { ARENA_BLOCK, holdArenas, type ParameterArena } from '../../engine/autograd/arena.ts'
import { checkFunction } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { noGrad, run, scope, type Tensor } from '../../engine/index.ts'
import { checkHyperparameters } from '../../engine/ops/optimizerStep.ts'
import { copyInto } from '../../engine/tensor/copies.ts'
import { copyOf } from '../../engine/tensor/tensor.ts'
import { ema } from '../../kernels/ema/index.ts'
import { entriesOf, load, type StateSource } from '../../model/stateDict.ts'
import { branchesOf, type GivenParameter, namedOnce } from './named.ts'
import { StepPart } from './stepPart.ts'

export interface EmaOptions {
  /** The share of the average that an update keeps, from 0 to 1; default 0.999. */
  decay?: number
}

const OPTIONS: OptionNames<EmaOptions> = { decay: true }

/**
 * Exponential moving averages of parameters, which begin with their present values. An update is one dispatch, or one for each allocation
 * when a binding does not hold all parameters. `swap()` exchanges averages and parameters, for evaluation and back. Buffers, such as
 * running statistics, are not averaged.
 */
export class Ema {
  readonly parameters: readonly Tensor[]
  readonly #names: readonly string[]
  readonly #arenas: readonly ParameterArena[]
  readonly #parts: readonly StepPart[]
  #decay: number
  #swapped = false
  #disposed = false

  /**
   * Moves the parameters into an arena, as optimizers do, unless they are in the arena of an optimizer, whose memory is shared.
   * @param parameters with or without names, such as `model.namedParameters()`
   * @throws ArgumentError in one line unless `parameters` is a list of parameters, and for a decay out of range; ShapeError for tensors that
   *   are no float32 leaves of one device
   */
  constructor(parameters: Iterable<GivenParameter>, options: EmaOptions = {}) {
    checkOptions('Ema', options, OPTIONS)
    const { decay = 0.999 } = options
    checkHyperparameters('Ema', { decay })
    const pairs = namedOnce('Ema', parameters)
    this.#decay = decay
    this.#names = pairs.map(([name]) => name)
    this.parameters = pairs.map(([, parameter]) => parameter)
    this.#arenas = holdArenas('Ema', this.parameters, { names: this.#names, branches: branchesOf(pairs) })
    this.#parts = this.#arenas.map((arena) => {
      const own = this.parameters.filter((parameter) => arena.parameters.includes(parameter))
      const part = new StepPart(arena, new Map(own.map((parameter) => [parameter, 0])), 0, ['average'])
      noGrad(() => copyInto(part.params, part.moments.average!))
      return part
    })
  }

  /**
   * The share that updates keep; replays of captured steps follow it.
   * @throws ArgumentError when it is set to anything but a number from 0 to 1
   */
  get decay(): number {
    return this.#decay
  }

  set decay(decay: number) {
    checkHyperparameters('Ema', { decay })
    this.#decay = decay
  }

  /** Whether the parameters hold the averages now. */
  get swapped(): boolean {
    return this.#swapped
  }

  /** Moves the averages towards the parameters, after a step of the optimizer. @throws Error after `dispose()`, and while they are swapped */
  update(): void {
    this.#checkLive('update')
    if (this.#swapped) throw new Error('Ema.update: the parameters hold the averages; call swap() first')
    for (const { params, moments } of this.#parts) {
      const problem = { blocks: params.size / ARENA_BLOCK, part: 1 - this.#decay }
      run(ema, problem, [moments.average!, params], { updateParams: () => ({ part: 1 - this.#decay }) })
    }
  }

  /** Exchanges averages and parameters. A second call brings the parameters back, to the bit. @throws Error inside `capture()` */
  swap(): void {
    this.#checkLive('swap')
    if (this.parameters[0]!.device.capturing)
      throw new Error('Ema.swap: cannot be called inside capture(), whose replays would not know of it; call it outside')
    scope(() => {
      for (const part of this.#parts) {
        // The memory between the parameters belongs to others, so these are exchanged one by one then.
        const pairs = part.hasOthers
          ? this.parameters.filter((t) => part.has(t)).map((t) => [t, part.slot(part.moments.average!, t)] as const)
          : [[part.params, part.moments.average!] as const]
        for (const [values, average] of pairs) {
          const kept = copyOf(values)
          copyInto(average, values)
          copyInto(kept, average)
        }
      }
    })
    this.#swapped = !this.#swapped
  }

  /** Calls a function, which may be asynchronous, while the parameters hold the averages. @returns its result */
  async evaluate<T>(fn: () => T | Promise<T>): Promise<T> {
    checkFunction('Ema.evaluate', fn)
    const swaps = !this.#swapped
    if (swaps) this.swap()
    try {
      return await fn()
    } finally {
      if (swaps && !this.#disposed) this.swap()
    }
  }

  /** Returns live views of the averages by parameter name, which the next update changes. @throws Error while they are swapped */
  stateDict(): Record<string, Tensor> {
    this.#checkLive('stateDict')
    if (this.#swapped) throw new Error('Ema.stateDict: the parameters hold the averages; call swap() first')
    return Object.fromEntries(
      this.parameters.map((parameter, i) => {
        const part = this.#parts.find((part) => part.has(parameter))!
        return [this.#names[i]!, part.slot(part.moments.average!, parameter)]
      }),
    )
  }

  /**
   * Overwrites the averages. Everything is checked first.
   * @throws UserError in one line that names what is missing, unknown or of another shape or dtype
   */
  loadStateDict(source: StateSource): void {
    const words = {
      problem: 'Ema.loadStateDict: the averages do not fit',
      owner: 'the model',
      advice: 'use those of the same parameters',
    }
    scope(() => load(new Map(Object.entries(this.stateDict())), entriesOf('Ema.loadStateDict', source), words))
  }

  /** Frees the averages; parameters that hold them keep them. It may be called twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const part of this.#parts) part.dispose()
    for (const arena of this.#arenas) arena.dispose()
  }

  #checkLive(what: string): void {
    if (this.#disposed) throw new Error(`Ema.${what}: the averages were disposed; make new ones`)
  }
}
