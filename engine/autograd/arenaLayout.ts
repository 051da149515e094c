import { OutOfMemoryError } from '../base/errors.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** The alignment of slots, in elements. A float16 copy of an arena needs it for its bindings, and float32 needs less. */
const SLOT_ALIGNMENT = bindingAlignment('float16')

/** The parameters of sibling branches: a list for each branch, all in the same order. */
export type Branches = readonly (readonly Tensor[])[]

/** The elements that a slot takes for a parameter of `size` elements. */
export function spaceOf(size: number): number {
  return SLOT_ALIGNMENT * Math.ceil(size / SLOT_ALIGNMENT)
}

/** The offsets of slots side by side, and the end of the last one, in elements. */
export function slotsOf(parameters: readonly Tensor[]): { offsets: number[]; length: number } {
  let length = 0
  const offsets = parameters.map(({ size }) => {
    const offset = length
    length += spaceOf(size)
    return offset
  })
  return { offsets, length }
}

/**
 * Divides parameters among allocations that each fit into one binding. Where one allocation holds all, they keep their order. Otherwise
 * corresponding parameters of branches go into one allocation, evenly spaced, so that their dispatches can be coalesced; branches too large
 * for one allocation are cut into runs of parameters.
 * @param bindingBytes the bytes that one binding holds
 * @throws OutOfMemoryError for a parameter that no binding holds
 */
export function divide(parameters: readonly Tensor[], sets: readonly Branches[], bindingBytes: number): Tensor[][] {
  const room = SLOT_ALIGNMENT * Math.floor(bindingBytes / 4 / SLOT_ALIGNMENT)
  if (slotsOf(parameters).length <= room) return [[...parameters]]
  const filling = new Filling(room)
  const setOf = new Map(sets.filter((set) => isEven(set, parameters)).flatMap((set) => set.flat().map((t) => [t, set])))
  const done = new Set<Branches>()
  for (const parameter of parameters) {
    const set = setOf.get(parameter)
    if (!set) filling.add([parameter])
    else if (!done.has(set)) {
      done.add(set)
      addBranches(filling, set)
    }
  }
  return filling.allocations
}

/** Tells whether corresponding parameters of the branches have equal shapes, and all are distinct and among `parameters`. */
function isEven(set: Branches, parameters: readonly Tensor[]): boolean {
  const [first = []] = set
  const all = set.flat()
  const among = new Set(parameters)
  const matches = (branch: readonly Tensor[]) =>
    branch.length === first.length && branch.every(({ shape }, i) => format(shape) === format(first[i]!.shape))
  return set.every(matches) && new Set(all).size === all.length && all.every((t) => among.has(t))
}

/** Distributes parameters over allocations of one size, one allocation after another. */
class Filling {
  readonly allocations: Tensor[][] = []
  /** The number of elements that an allocation holds. */
  readonly room: number
  #taken = 0

  constructor(room: number) {
    this.room = room
  }

  /** The number of elements left in the allocation that is being filled. */
  get left(): number {
    return this.allocations.length === 0 ? 0 : this.room - this.#taken
  }

  /** Adds parameters that must share an allocation; starts a new one where the last has no room. @throws OutOfMemoryError */
  add(parameters: readonly Tensor[]): void {
    const space = slotsOf(parameters).length
    if (space > this.room) {
      const [{ shape, size }] = parameters as [Tensor]
      throw new OutOfMemoryError(
        `a parameter of shape ${format(shape)} takes ${4 * size} bytes, one binding of this device holds ${4 * this.room}; use a smaller one`,
      )
    }
    if (space > this.left) {
      this.allocations.push([])
      this.#taken = 0
    }
    this.allocations.at(-1)!.push(...parameters)
    this.#taken += space
  }
}

/** Adds branches in runs of consecutive parameters. A run is as long as the room allows for all branches together. */
function addBranches(filling: Filling, set: Branches): void {
  const [first] = set as [readonly Tensor[]]
  const spaces = first.map(({ size }) => set.length * spaceOf(size))
  const run = (from: number, room: number): number => {
    let [to, taken] = [from, 0]
    while (to < first.length && taken + spaces[to]! <= room) taken += spaces[to++]!
    return to
  }
  for (let from = 0; from < first.length; ) {
    const to = run(from, filling.left > 0 && run(from, filling.left) > from ? filling.left : filling.room)
    // The branches' parameters of this one place together exceed an allocation.
    if (to === from) for (const branch of set) filling.add([branch[from]!])
    else filling.add(set.flatMap((branch) => branch.slice(from, to)))
    from = Math.max(to, from + 1)
  }
}
