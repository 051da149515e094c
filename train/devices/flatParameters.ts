import { gatherGradients, holdArenas, type ParameterArena } from '../../engine/autograd/arena.ts'
import { zeroGrad } from '../../engine/autograd/backward.ts'
import { scope, type Tensor, tensor } from '../../engine/index.ts'
import { addInPlace } from '../../engine/tensor/pointwise.ts'
import type { Parameter } from '../../model/index.ts'

/** The place of a parameter in the flat array of all, and in its arena. */
interface Slot {
  parameter: Parameter
  at: number
  inArena: number
}

/**
 * Parameters, and their gradients, as one flat array on the host: one after the other in their order, without gaps. So the array is the
 * same on devices whose memory is divided otherwise.
 */
export class FlatParameters {
  /** The number of elements of all parameters. */
  readonly length: number
  readonly #arenas: readonly { arena: ParameterArena; slots: readonly Slot[] }[]

  /** Holds the parameters in arenas, together with optimizers that have the same ones. */
  constructor(parameters: readonly Parameter[]) {
    const starts = new Map<Parameter, number>()
    let length = 0
    for (const parameter of parameters) {
      starts.set(parameter, length)
      length += parameter.size
    }
    this.length = length
    this.#arenas = holdArenas('FlatParameters', parameters).map((arena) => {
      const slots = parameters.flatMap((parameter): Slot[] => {
        if (!arena.parameters.includes(parameter)) return []
        return [
          {
            parameter,
            at: starts.get(parameter)!,
            inArena: scope(() => arena.slot(arena.values, arena.indexOf(parameter)).offset),
          },
        ]
      })
      return { arena, slots }
    })
  }

  /** Reads all values. The reads are recorded before it returns. */
  values(): Promise<Float32Array> {
    return this.#read(
      ({ values }) => values,
      () => true,
    )
  }

  /** Reads all gradients, zeros for parameters without one, and clears them. The reads are recorded before it returns. */
  takeGradients(): Promise<Float32Array> {
    const parameters = this.#arenas.flatMap(({ slots }) => slots.map(({ parameter }) => parameter))
    gatherGradients('FlatParameters', parameters)
    const having = new Set(parameters.filter(({ grad }) => grad))
    const reading = this.#read(
      ({ gradients }) => gradients,
      (parameter) => having.has(parameter),
    )
    zeroGrad(parameters)
    return reading
  }

  /** Overwrites all values. @throws Error unless `flat` has one for each element */
  write(flat: Float32Array): void {
    this.#check(flat)
    for (const { arena, slots } of this.#arenas) arena.values.write(inLayout(arena, slots, flat))
  }

  /** Adds to the gradients, which must lie in their arenas (see `Optimizer.gather`). @throws Error unless `flat` has a number for each element */
  addGradients(flat: Float32Array): void {
    this.#check(flat)
    for (const { arena, slots } of this.#arenas)
      scope(() => {
        const { gradients } = arena
        addInPlace(gradients, tensor(inLayout(arena, slots, flat), { device: gradients.device }))
      })
  }

  /** Ends the hold of the arenas. */
  dispose(): void {
    for (const { arena } of this.#arenas) arena.dispose()
  }

  async #read(of: (arena: ParameterArena) => Tensor, takes: (parameter: Parameter) => boolean): Promise<Float32Array> {
    const reads = this.#arenas.map(({ arena }) => of(arena).data())
    const flat = new Float32Array(this.length)
    for (const [i, data] of (await Promise.all(reads)).entries())
      for (const { parameter, at, inArena } of this.#arenas[i]!.slots)
        if (takes(parameter)) flat.set((data as Float32Array).subarray(inArena, inArena + parameter.size), at)
    return flat
  }

  #check({ length }: Float32Array): void {
    if (length !== this.length) throw new Error(`${length} numbers came for ${this.length} parameters`)
  }
}

/** Puts the part of a flat array that belongs to an arena into the arena's layout. */
function inLayout(arena: ParameterArena, slots: readonly Slot[], flat: Float32Array): Float32Array {
  const values = new Float32Array(arena.length)
  for (const { parameter, at, inArena } of slots) values.set(flat.subarray(at, at + parameter.size), inArena)
  return values
}
