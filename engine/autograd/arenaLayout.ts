import { OutOfMemoryError } from '../base/errors.ts'
import { bindingAlignment } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** Elements to which slots are aligned: a binding's alignment, that of a float16 copy of the arena too. */
const SLOT_ALIGNMENT = bindingAlignment('float16')

/** Parameters of sibling branches, branch after branch, each in the same order. */
export type Branches = readonly (readonly Tensor[])[]

/** Elements that a parameter of this size takes. */
export function spaceOf(size: number): number {
  return SLOT_ALIGNMENT * Math.ceil(size / SLOT_ALIGNMENT)
}

/** Where parameters begin that lie side by side, and where the last one ends, in elements. */
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
 * Divides parameters among allocations, each small enough for one binding: one in the given order where all fit. Else corresponding
 * parameters of branches come into one allocation, evenly spaced, as far as that holds them, so that their dispatches can still be
 * coalesced; everything else keeps the order.
 * @param bytes of a binding
 * @throws OutOfMemoryError for a parameter that no binding holds
 */
export function divide(parameters: readonly Tensor[], sets: readonly Branches[], bytes: number): Tensor[][] {
  const room = SLOT_ALIGNMENT * Math.floor(bytes / 4 / SLOT_ALIGNMENT)
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

/** Whether branches match parameter by parameter, and all are among `parameters`. */
function isEven(set: Branches, parameters: readonly Tensor[]): boolean {
  const [first = []] = set
  const all = set.flat()
  const among = new Set(parameters)
  const alike = (branch: readonly Tensor[]) =>
    branch.length === first.length && branch.every(({ shape }, i) => format(shape) === format(first[i]!.shape))
  return set.every(alike) && new Set(all).size === all.length && all.every((t) => among.has(t))
}

/** Fills allocations one after the other. */
class Filling {
  readonly allocations: Tensor[][] = []
  readonly room: number
  #taken = 0

  constructor(room: number) {
    this.room = room
  }

  /** Elements left in the allocation that is being filled. */
  get left(): number {
    return this.allocations.length === 0 ? 0 : this.room - this.#taken
  }

  /** Adds what must lie in one allocation, and begins another where there is no room. */
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

/** Adds branches in runs of parameters: as many in a row as fit beside those of the other branches. */
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
    // Those of all branches are too large for one allocation.
    if (to === from) for (const branch of set) filling.add([branch[from]!])
    else filling.add(set.flatMap((branch) => branch.slice(from, to)))
    from = Math.max(to, from + 1)
  }
}
