import type { ParameterArena } from '../../engine/autograd/arena.ts'
import { type Tensor, withoutScope, zeros } from '../../engine/index.ts'
import { type Changeable, joint } from '../../engine/memory/version.ts'
import type { StepArena } from '../../engine/ops/optimizerStep.ts'

/** The parameters of an optimizer that lie in one arena and are treated alike, with their moments; one dispatch updates them. */
export class StepPart implements StepArena {
  readonly arena: ParameterArena
  readonly params: Tensor
  readonly grads: Tensor
  /** Flat tensors of the layout of `params`, by name. */
  readonly moments: Readonly<Record<string, Tensor>>
  readonly blockSlot: Tensor
  /** Further tensors that a step reads, by name. */
  readonly tables: Readonly<Record<string, Tensor>>
  /** The parameters of the part, in the order of the arena. */
  readonly parameters: readonly Tensor[]
  /** Whether parameters of others lie between those of the part. */
  readonly hasOthers: boolean
  /** The index in the arena of the first parameter. */
  readonly #first: number
  readonly #own: ReadonlyMap<Tensor, number>

  /**
   * @param arena a held arena
   * @param rows the rows of the optimizer's tables by parameter of the part
   * @param spare the row for parameters of others
   * @param moments the names of the moments
   * @param tables makes the part's further tensors
   */
  constructor(
    arena: ParameterArena,
    rows: ReadonlyMap<Tensor, number>,
    spare: number,
    moments: readonly string[],
    tables: (part: StepPart) => Record<string, Tensor> = () => ({}),
  ) {
    const { device } = arena.values
    const places = arena.parameters.flatMap((parameter, i) => (rows.has(parameter) ? [i] : []))
    const [first, last] = [places[0]!, places.at(-1)!]
    this.arena = arena
    this.hasOthers = places.length < last - first + 1
    this.#first = first
    this.#own = new Map(places.map((place) => [arena.parameters[place]!, place]))
    // The state outlives the scope that the optimizer is made in.
    const [params, grads, blockSlot, ...made] = withoutScope(() => {
      const values = arena.span(arena.values, first, last)
      return [
        values,
        arena.span(arena.gradients, first, last),
        arena.blocks(first, last, (parameter) => rows.get(parameter) ?? spare),
        ...moments.map(() => zeros([values.size], { device })),
      ] as const
    })
    this.params = params
    this.grads = grads
    this.blockSlot = blockSlot
    this.moments = Object.fromEntries(moments.map((name, i) => [name, made[i]!]))
    this.parameters = [...this.#own.keys()]
    this.tables = withoutScope(() => tables(this))
  }

  has(parameter: Tensor): boolean {
    return this.#own.has(parameter)
  }

  /** Returns a live view of a parameter's place in a flat tensor of the part's layout, in the parameter's shape. */
  slot(flat: Tensor, parameter: Tensor): Tensor {
    return this.arena.slot(flat, this.#own.get(parameter)!, this.#first)
  }

  /** Returns where a parameter begins in a flat tensor of the part's layout, in elements. */
  startOf(parameter: Tensor): number {
    const slot = this.slot(this.params, parameter)
    const start = slot.offset - this.params.offset
    slot.dispose()
    return start
  }

  /** The versions of the parameters that a step changes, which are those with gradients. */
  get changes(): Changeable {
    return joint([...this.#own.keys()].flatMap(({ grad, version }) => (grad ? [version] : [])))
  }

  /** Frees everything but the arena. */
  dispose(): void {
    for (const t of [this.params, this.grads, this.blockSlot, ...Object.values(this.moments), ...Object.values(this.tables)])
      t.dispose()
  }
}
