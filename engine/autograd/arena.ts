import { checkFunction, checkWhole } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import { format, rowMajorStrides } from '../layout/shape.ts'
import type { Storage } from '../memory/storage.ts'
import type { Version } from '../memory/version.ts'
import { checkTensor, checkTensors } from '../tensor/arguments.ts'
import { copyInto, fillInPlace } from '../tensor/copies.ts'
import { tensor } from '../tensor/fromValues.ts'
import { withoutScope } from '../tensor/scope.ts'
import { empty, partOf, Tensor, view } from '../tensor/tensor.ts'
import { type Branches, divide, slotsOf, spaceOf } from './arenaLayout.ts'

/** Elements of the blocks that kernels treat alike. */
export const ARENA_BLOCK = 64

/** Where parameters live that an arena took in, and the memory of all arenas. By the tensors, so that what is dropped can go. */
const homes = new WeakMap<Tensor, ParameterArena>()
const memories = new WeakSet<Storage>()

/**
 * Parameters side by side in one allocation. While somebody holds the arena, their gradients lie in a second one of the same layout, so
 * that one dispatch can update all of them, and nothing moves them. Between slots lie zeros.
 */
export class ParameterArena {
  readonly parameters: readonly Tensor[]
  readonly length: number
  readonly #offsets: readonly number[]
  readonly #slots: ReadonlyMap<Tensor, number>
  readonly #memory: Storage<Device>
  /** Counts changes of all values at once; each parameter counts its own. */
  readonly #version: Version
  #holders = 0
  #values: Tensor | undefined
  #gradients: Tensor | undefined

  /** Moves the parameters; they stay the same Tensor objects. */
  constructor(parameters: readonly Tensor[]) {
    const { device } = parameters[0]!
    const { offsets, length } = slotsOf(parameters)
    this.parameters = parameters
    this.length = length
    this.#offsets = offsets
    this.#slots = new Map(parameters.map((parameter, i) => [parameter, i]))
    // An arena outlives the scope it is made in, as its parameters do.
    const whole = withoutScope(() => {
      const flat = zeroed(length, device)
      parameters.forEach((parameter, i) => {
        const place = this.slot(flat, i)
        parameter.rebind(place)
        place.dispose()
        homes.set(parameter, this)
      })
      flat.dispose()
      return flat
    })
    this.#memory = whole.storage
    this.#version = whole.version
    memories.add(this.#memory)
  }

  /** Whether it has gradients, and its parameters must stay. */
  get held(): boolean {
    return this.#holders > 0
  }

  /** All values, flat, [length], while it is held. */
  get values(): Tensor {
    return this.#values!
  }

  /** All gradients, flat, [length], while it is held; a slot holds nothing useful while its parameter has no `grad`. */
  get gradients(): Tensor {
    return this.#gradients!
  }

  /** Makes room for gradients, until as many holders let go by `dispose()`. */
  hold(): this {
    if (this.#holders++ > 0) return this
    const { device } = this.#memory
    withoutScope(() => {
      this.#values = new Tensor(this.#memory.retain(), [this.length], [1], 0, 'float32', this.#version)
      this.#gradients = zeroed(this.length, device)
      for (const [slot, parameter] of this.parameters.entries()) parameter.gradSlot = this.slot(this.#gradients, slot)
    })
    return this
  }

  /** Lets go. With the last holder the gradients are freed; the values live on with their parameters. */
  dispose(): void {
    if (--this.#holders > 0) return
    forget(this.parameters)
    for (const parameter of this.parameters) {
      parameter.gradSlot?.dispose()
      parameter.gradSlot = undefined
    }
    this.#values!.dispose()
    this.#gradients!.dispose()
  }

  /** The place of a parameter among those of the arena. */
  indexOf(parameter: Tensor): number {
    return this.#slots.get(parameter)!
  }

  /**
   * The part of a flat tensor of the arena's layout that belongs to one parameter, in its shape. Its changes are no changes of others.
   * @param first the parameter that the flat tensor begins with
   */
  slot(flat: Tensor, index: number, first = 0): Tensor {
    checkTensor('slot', flat)
    checkWhole('slot', index, 'the parameter', 0, this.parameters.length - 1)
    const { shape } = this.parameters[index]!
    return partOf(flat, shape, rowMajorStrides(shape), flat.offset + this.#offsets[index]! - this.#offsets[first]!)
  }

  /** The part of a flat tensor of the arena's layout that the parameters from `first` to `last` take, flat. */
  span(flat: Tensor, first: number, last: number): Tensor {
    const [start, end] = [this.#offsets[first]!, this.#offsets[last]! + spaceOf(this.parameters[last]!.size)]
    return view(flat, [end - start], [1], flat.offset + start)
  }

  /** int32, one for each block of 64 elements of such a part: what `numberOf` says of the parameter that it belongs to. */
  blocks(first: number, last: number, numberOf: (parameter: Tensor) => number): Tensor {
    const parameters = this.parameters.slice(first, last + 1)
    const numbers = parameters.flatMap((one) => Array(spaceOf(one.size) / ARENA_BLOCK).fill(numberOf(one)))
    return tensor(Int32Array.from(numbers), { device: this.#memory.device })
  }
}

export interface ArenaOptions {
  /** What messages call the parameters; default their places. */
  names?: readonly string[]
  /** Parameters of branches whose dispatches are to be coalesced; matters where one binding does not hold all. */
  branches?: readonly Branches[]
}

/**
 * Arenas of parameters, held until each is disposed: one, where a binding holds all of them. Parameters of an arena that is held already
 * stay there, beside what else is in it: its holders see the same values and gradients.
 * @param parameters float32 leaves of one device, each once
 * @throws ShapeError for other tensors, views that share the memory of others, or none; ArgumentError for what is no live tensor; Error
 *   inside a capture; OutOfMemoryError for a parameter that no binding holds
 */
export function holdArenas(op: string, parameters: readonly Tensor[], options: ArenaOptions = {}): ParameterArena[] {
  checkParameters(op, parameters, options.names)
  const { device } = parameters[0]!
  if (device.recording) throw new Error(`${op}: cannot be made inside capture(), since it moves parameters; make it before`)
  const movable = parameters.filter((parameter) => !homes.get(parameter)?.held)
  if (movable.length > 0) place(movable, options.branches)
  return [...new Set(parameters.map((parameter) => homes.get(parameter)!))].map((arena) => arena.hold())
}

/**
 * Moves float32 parameters into one allocation, in this order, or into as few as bindings hold; they stay the same Tensor objects, and
 * those that share one already stay where they are. Of branches with parameters of the same shapes, corresponding ones then lie equally
 * far apart, so that their dispatches can be coalesced. Nothing is moved while a capture records.
 * @param branches the parameters of branches; matters where one binding does not hold all
 * @throws ShapeError for what no allocation can hold: other tensors than float32 leaves of one device; ArgumentError for what is no list
 *   of live tensors
 */
export function colocate(parameters: readonly Tensor[], branches: () => readonly Branches[] = () => []): void {
  checkTensors('colocate', parameters)
  checkFunction('colocate', branches, 'branches')
  if (parameters[0]?.device.recording) return
  const homeless = parameters.filter((parameter) => !homes.has(parameter))
  if (homeless.length === 0) return
  checkParameters('colocate', homeless)
  place(homeless, branches())
}

/** Puts parameters side by side that nobody holds, unless they lie so already with nothing else between. */
function place(parameters: readonly Tensor[], branches: readonly Branches[] = []): void {
  const { device } = parameters[0]!
  const allocations = divide(parameters, branches, device.bindingBytes)
  const among = new Set(parameters)
  const found = new Set(parameters.map((parameter) => homes.get(parameter)))
  if (found.size === allocations.length && [...found].every((one) => one?.parameters.every((t) => among.has(t)))) return
  for (const allocation of allocations) new ParameterArena(allocation)
}

/**
 * Copies gradients that lie elsewhere (made before the arena, or set by hand) to their slots.
 * @param parameters of arenas that are held
 * @throws ShapeError for one that was disposed, is not of its parameter's shape and device, or no float
 */
export function gatherGradients(op: string, parameters: readonly Tensor[], names?: readonly string[]): void {
  const moves: [parameter: Tensor, slot: Tensor, value: Tensor][] = []
  for (const [i, parameter] of parameters.entries()) {
    const { grad, gradSlot: slot } = parameter
    if (!grad || !slot || (grad.storage === slot.storage && grad.offset === slot.offset)) continue
    checkGradient(`${op}: the gradient of ${names?.[i] ?? i}`, parameter, grad)
    // One may lie in the slot of another: all are read before the first is written.
    moves.push([parameter, slot, grad.storage === slot.storage ? copyOf(grad) : grad])
  }
  for (const [parameter, slot, value] of moves) {
    copyInto(value, slot)
    if (value !== parameter.grad) value.dispose()
    parameter.grad = withoutScope(() => slot.detach())
  }
}

/** @throws ShapeError unless a parameter may have this gradient */
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

function copyOf(t: Tensor): Tensor {
  const copy = empty(t.shape, t.dtype, t.device)
  copyInto(t, copy)
  return copy
}

/** Forgets the gradients of parameters. */
export function forget(parameters: readonly Tensor[]): void {
  for (const parameter of parameters) {
    parameter.grad?.dispose()
    parameter.grad = undefined
  }
}

/** @throws ShapeError in one line that names what no arena can hold */
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
    // It would move away from what shares its memory, which would see no step.
    const alone = !memories.has(storage) && !seen.has(storage) && !(storage.shared && 4 * size !== storage.bytes)
    if (!homes.has(parameter) && !alone)
      fail('is a view of another tensor, which would not change with it; give that, or a copy')
    if (!homes.has(parameter)) seen.add(storage)
  }
}
