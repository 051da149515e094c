import type { ParameterArena } from '../../engine/autograd/arena.ts'
import { type Tensor, withoutScope, zeros } from '../../engine/index.ts'
import { type Changeable, joint } from '../../engine/memory/version.ts'
import type { AdamWArena } from '../../engine/ops/adamW.ts'

/** The parameters of an optimizer in one arena, with their moments; one dispatch updates them. */
export class MomentPart implements AdamWArena {
  readonly arena: ParameterArena
  readonly params: Tensor
  readonly grads: Tensor
  readonly m: Tensor
  readonly v: Tensor
  readonly blockSlot: Tensor
  /** Whether parameters of others lie between those of the optimizer. */
  readonly hasOthers: boolean
  /** The index in the arena of the first parameter. */
  readonly #first: number
  readonly #own: ReadonlyMap<Tensor, number>

  /**
   * @param arena a held arena, which `dispose()` releases
   * @param rows the rows of the optimizer's tables by parameter; the row after them is for parameters of others
   */
  constructor(arena: ParameterArena, rows: ReadonlyMap<Tensor, number>) {
    const { device } = arena.values
    const places = arena.parameters.flatMap((parameter, i) => (rows.has(parameter) ? [i] : []))
    const [first, last] = [places[0]!, places.at(-1)!]
    this.arena = arena
    this.hasOthers = places.length < last - first + 1
    this.#first = first
    this.#own = new Map(places.map((place) => [arena.parameters[place]!, place]))
    // The state outlives the scope that the optimizer is made in.
    const [params, grads, m, v, blockSlot] = withoutScope(() => {
      const values = arena.span(arena.values, first, last)
      return [
        values,
        arena.span(arena.gradients, first, last),
        zeros([values.size], { device }),
        zeros([values.size], { device }),
        arena.blocks(first, last, (parameter) => rows.get(parameter) ?? rows.size),
      ] as const
    })
    this.params = params
    this.grads = grads
    this.m = m
    this.v = v
    this.blockSlot = blockSlot
  }

  has(parameter: Tensor): boolean {
    return this.#own.has(parameter)
  }

  /** Returns a live view of a parameter's moment, in the parameter's shape. */
  slot(of: 'm' | 'v', parameter: Tensor): Tensor {
    return this.arena.slot(this[of], this.#own.get(parameter)!, this.#first)
  }

  /** The versions of the parameters that a step changes, which are those with gradients. */
  get changes(): Changeable {
    return joint([...this.#own.keys()].flatMap(({ grad, version }) => (grad ? [version] : [])))
  }

  dispose(): void {
    for (const t of [this.params, this.grads, this.m, this.v, this.blockSlot]) t.dispose()
    this.arena.dispose()
  }
}

/** Makes a part for each arena. */
export function momentParts(arenas: readonly ParameterArena[], parameters: readonly Tensor[]): MomentPart[] {
  const rows = new Map(parameters.map((parameter, row) => [parameter, row]))
  return arenas.map((arena) => new MomentPart(arena, rows))
}
