import { checkFunction, checkWhole } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import { format, rowMajorLayout } from '../layout/shape.ts'
import type { Storage } from '../memory/storage.ts'
import type { Version } from '../memory/version.ts'
import { checkTensor, checkTensors } from '../tensor/arguments.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { tensor } from '../tensor/fromValues.ts'
import { withoutScope } from '../tensor/scope.ts'
import { copyOf, empty, partOf, Tensor, view } from '../tensor/tensor.ts'
import { type Branches, divide, slotsOf, spaceOf } from './arenaLayout.ts'
import { zeroGrad } from './backward.ts'

/** The number of elements in a block. Each block of an arena belongs to one parameter. */
export const ARENA_BLOCK = 64

/** By parameter, the arena that it lies in. */
const arenaOf = new WeakMap<Tensor, ParameterArena>()
/** The storages of all arenas. */
const arenaStorages = new WeakSet<Storage>()

/**
 * Parameters side by side in one allocation. While the arena is held, it does not move its parameters, and their gradients lie in a second
 * allocation of the same layout, so that one dispatch can update all of them. Gaps between slots hold zeros.
 */
export class ParameterArena {
  readonly parameters: readonly Tensor[]
  readonly length: number
  readonly #offsets: readonly number[]
  readonly #slots: ReadonlyMap<Tensor, number>
  readonly #memory: Storage<Device>
  /** Counts the changes of all values at once; each parameter counts its own changes. */
  readonly #version: Version
  #holders = 0
  #values: Tensor | undefined
  #gradients: Tensor | undefined

  /** Moves the parameters into a new allocation; they stay the same Tensor objects. */
  constructor(parameters: readonly Tensor[]) {
    const { device } = parameters[0]!
    const { offsets, length } = slotsOf(parameters)
    this.parameters = parameters
    this.length = length
    this.#offsets = offsets
    this.#slots = new Map(parameters.map((parameter, i) => [parameter, i]))
    // An arena outlives the scope that it is made in, as its parameters do.
    const values = withoutScope(() => {
      const flat = zeroed(length, device)
      parameters.forEach((parameter, i) => {
        const slot = this.slot(flat, i)
        parameter.rebind(slot)
        slot.dispose()
        arenaOf.set(parameter, this)
      })
      flat.dispose()
      return flat
    })
    this.#memory = values.storage
    this.#version = values.version
    arenaStorages.add(this.#memory)
  }

  /** Whether an optimizer holds the arena: then it has gradients, and its parameters must not move. */
  get held(): boolean {
    return this.#holders > 0
  }

  /** All values [length], while the arena is held. */
  get values(): Tensor {
    return this.#values!
  }

  /** All gradients [length], while the arena is held. The content of a slot is undefined while its parameter has no `grad`. */
  get gradients(): Tensor {
    return this.#gradients!
  }

  /** Adds a holder of the arena. The first holder allocates the gradients; `dispose()` ends a hold. */
  hold(): this {
    if (this.#holders++ > 0) return this
    const { device } = this.#memory
    withoutScope(() => {
      this.#values = new Tensor(this.#memory.retain(), rowMajorLayout([this.length]), 'float32', this.#version)
      this.#gradients = zeroed(this.length, device)
      for (const [slot, parameter] of this.parameters.entries()) parameter.gradSlot = this.slot(this.#gradients, slot)
    })
    return this
  }

  /** Ends a hold. The last one frees the gradients; the values live as long as their parameters. */
  dispose(): void {
    if (--this.#holders > 0) return
    zeroGrad(this.parameters)
    for (const parameter of this.parameters) {
      parameter.gradSlot?.dispose()
      parameter.gradSlot = undefined
    }
    this.#values!.dispose()
    this.#gradients!.dispose()
  }

  indexOf(parameter: Tensor): number {
    return this.#slots.get(parameter)!
  }

  /**
   * Makes a view of one parameter's slot in a flat tensor of the arena's layout. A change of the slot counts as no change of other slots.
   * @param index of the parameter
   * @param first index of the parameter that the flat tensor starts with
   * @throws ArgumentError when `flat` is no live tensor, or there is no such parameter
   */
  slot(flat: Tensor, index: number, first = 0): Tensor {
    checkTensor('slot', flat)
    checkWhole('slot', index, 'the parameter', 0, this.parameters.length - 1)
    const { shape } = this.parameters[index]!
    return partOf(flat, rowMajorLayout(shape, flat.offset + this.#offsets[index]! - this.#offsets[first]!))
  }

  /** Makes a flat view of the slots of parameters `first` to `last`, inclusive, in a flat tensor of the arena's layout. */
  span(flat: Tensor, first: number, last: number): Tensor {
    const [start, end] = [this.#offsets[first]!, this.#offsets[last]! + spaceOf(this.parameters[last]!.size)]
    return view(flat, { shape: [end - start], offset: flat.offset + start })
  }

  /** Makes an int32 tensor with an element for each block of the slots `first` to `last`: `numberOf` the block's parameter. */
  blocks(first: number, last: number, numberOf: (parameter: Tensor) => number): Tensor {
    const parameters = this.parameters.slice(first, last + 1)
    const numbers = parameters.flatMap((t) => Array(spaceOf(t.size) / ARENA_BLOCK).fill(numberOf(t)))
    return tensor(Int32Array.from(numbers), { device: this.#memory.device })
  }
}

interface ArenaOptions {
  /** Names of the parameters for error messages; by default their indices. */
  names?: readonly string[]
  /** Parameters of branches whose dispatches are to be coalesced. Matters only where several arenas are needed. */
  branches?: readonly Branches[]
}

/**
 * Puts parameters into arenas and holds these until each is disposed. One arena is enough where one binding holds all parameters.
 * Parameters of an arena that is held already stay there; its holders share values and gradients.
 * @param parameters float32 leaves of one device, each once
 * @throws ShapeError for other tensors, views that share the memory of others, or no parameters; ArgumentError for a parameter that is no
 *   live tensor; Error inside a capture; OutOfMemoryError for a parameter that no binding holds
 */
export function holdArenas(op: string, parameters: readonly Tensor[], options: ArenaOptions = {}): ParameterArena[] {
  checkParameters(op, parameters, options.names)
  const { device } = parameters[0]!
  if (device.capturing) throw new Error(`${op}: cannot be made inside capture(), since it moves parameters; make it before`)
  const movable = parameters.filter((parameter) => !arenaOf.get(parameter)?.held)
  if (movable.length > 0) place(movable, options.branches)
  return [...new Set(parameters.map((parameter) => arenaOf.get(parameter)!))].map((arena) => arena.hold())
}

/**
 * Moves parameters side by side into one allocation, in the given order, or into several where one binding does not hold all. They stay
 * the same Tensor objects. Corresponding parameters of branches of equal shapes then lie evenly spaced, so that their dispatches can be
 * coalesced. Parameters that lie in an arena already stay there, and nothing moves while a capture records.
 * @param parameters float32 leaves of one device
 * @param branches gives the parameters of branches. Matters only where several allocations are needed
 * @throws ShapeError for other tensors; ArgumentError when `parameters` is no list of live tensors; OutOfMemoryError for a parameter that no
 *   binding holds
 */
export function colocate(parameters: readonly Tensor[], branches: () => readonly Branches[] = () => []): void {
  checkTensors('colocate', parameters)
  checkFunction('colocate', branches, 'branches')
  if (parameters[0]?.device.capturing) return
  const outside = parameters.filter((parameter) => !arenaOf.has(parameter))
  if (outside.length === 0) return
  checkParameters('colocate', outside)
  place(outside, branches())
}

/** Puts parameters of no held arena into new arenas, unless they are exactly the parameters of as many arenas already. */
function place(parameters: readonly Tensor[], branches: readonly Branches[] = []): void {
  const { device } = parameters[0]!
  const allocations = divide(parameters, branches, device.bindingBytes)
  const among = new Set(parameters)
  const present = new Set(parameters.map((parameter) => arenaOf.get(parameter)))
  if (present.size === allocations.length && [...present].every((arena) => arena?.parameters.every((t) => among.has(t)))) return
  for (const allocation of allocations) new ParameterArena(allocation)
}

/**
 * Copies gradients that lie outside their slots (made before the arena, or set by the caller) into the slots.
 * @param parameters parameters of held arenas
 * @param names names of the parameters for error messages; by default their indices
 * @throws ShapeError for a gradient that is disposed, int32, or not of its parameter's shape and device
 */
export function gatherGradients(op: string, parameters: readonly Tensor[], names?: readonly string[]): void {
  const moves: [parameter: Tensor, slot: Tensor, value: Tensor][] = []
  for (const [i, parameter] of parameters.entries()) {
    const { grad, gradSlot: slot } = parameter
    if (!grad || !slot || (grad.storage === slot.storage && grad.offset === slot.offset)) continue
    checkGradient(`${op}: the gradient of ${names?.[i] ?? i}`, parameter, grad)
    // A gradient may lie in the slot of another parameter, so it is copied before any slot is written.
    moves.push([parameter, slot, grad.storage === slot.storage ? copyOf(grad) : grad])
  }
  for (const [parameter, slot, value] of moves) {
    copyInto(value, slot)
    if (value !== parameter.grad) value.dispose()
    parameter.grad = withoutScope(() => slot.detach())
  }
}

/** @throws ShapeError unless the tensor is a valid gradient of the parameter */
function checkGradient(what: string, parameter: Tensor, { disposed, device, dtype, shape }: Tensor): void {
  const [got, takes] = [format(shape), format(parameter.shape)]
  if (disposed) throw new ShapeError(`${what} was disposed; set it to undefined too`)
  if (device !== parameter.device) throw new ShapeError(`${what} is on another device than its parameter`)
  if (dtype === 'int32' || got !== takes) throw new ShapeError(`${what} is ${dtype} ${got}, takes float32 ${takes}`)
}

function zeroed(length: number, device: Device): Tensor {
  const t = empty([length], 'float32', device)
  fillInPlace(t, 0)
  return t
}

/** @throws ShapeError for the first parameter that no arena can hold, with the reason */
function checkParameters(op: string, parameters: readonly Tensor[], names?: readonly string[]): void {
  const takes = 'takes at least one float32 leaf, each once and of one device'
  const [first] = parameters
  if (!first) throw new ShapeError(`${op}: got no parameters, ${takes}`)
  const met = new Set<Tensor>()
  const seen = new Set<Storage>()
  for (const [i, parameter] of parameters.entries()) {
    const fail = (problem: string): never => {
      throw new ShapeError(`${op}: parameter ${names?.[i] ?? i} ${problem}`)
    }
    checkTensor(op, parameter, `parameter ${names?.[i] ?? i}`)
    const { device, dtype, node, shape, size, storage } = parameter
    if (met.has(parameter)) fail(`is there twice, ${takes}`)
    met.add(parameter)
    if (dtype !== 'float32') fail(`is ${dtype} ${format(shape)}, ${takes}`)
    if (node) fail(`is what ${node.name} made, ${takes}; detach() it`)
    if (device !== first.device) fail(`is on another device, ${takes}`)
    if (arenaOf.has(parameter)) continue
    // A view would move away from the tensors that share its memory, and they would miss every step.
    const alone = !arenaStorages.has(storage) && !seen.has(storage) && !(storage.shared && 4 * size !== storage.bytes)
    if (!alone) fail('is a view of another tensor, which would not change with it; give that, or a copy')
    seen.add(storage)
  }
}
