import { copyInto } from './accumulate.ts'
import { checkTensors } from './arguments.ts'
import { checkWhole } from './checks.ts'
import { bindingAlignment } from './dtype.ts'
import { ShapeError } from './errors.ts'
import { zeros } from './ops/create.ts'
import { withoutScope } from './scope.ts'
import { empty, partOf, type Tensor, tensor } from './tensor.ts'

/** Elements of the blocks that kernels treat alike. */
export const ARENA_BLOCK = 64
/** Elements to which slots are aligned: a binding's alignment, that of a float16 copy of the arena too. */
const SLOT_ALIGNMENT = bindingAlignment('float16')

/** Elements that a parameter of this size takes. */
function spaceOf(size: number): number {
  return SLOT_ALIGNMENT * Math.ceil(size / SLOT_ALIGNMENT)
}

/** Where parameters begin that lie side by side, and where the last one ends, in elements. */
function slotsOf(parameters: readonly Tensor[]): { offsets: number[]; length: number } {
  let length = 0
  const offsets = parameters.map(({ size }) => {
    const offset = length
    length += spaceOf(size)
    return offset
  })
  return { offsets, length }
}

/** Moves parameters into a flat tensor. */
function settle(parameters: readonly Tensor[], flat: Tensor, offsets: readonly number[]): void {
  parameters.forEach((parameter, i) => {
    const place = partOf(flat, parameter.shape, parameter.strides, flat.offset + offsets[i]!)
    parameter.rehome(place)
    place.dispose()
  })
}

/**
 * Moves float32 parameters into one allocation, in this order, unless they share one already; they stay the same Tensor
 * objects. Of branches with parameters of the same shapes, corresponding ones then lie equally far apart, so that their
 * dispatches can be coalesced. Nothing is moved while a capture records.
 */
export function colocate(parameters: readonly Tensor[]): void {
  checkTensors('colocate', parameters)
  const [first] = parameters
  if (!first || first.device.recording || parameters.every(({ storage }) => storage === first.storage)) return
  withoutScope(() => {
    const { offsets, length } = slotsOf(parameters)
    const flat = zeros([length], { device: first.device })
    settle(parameters, flat, offsets)
    flat.dispose()
  })
}

/**
 * Parameters side by side in one allocation, their gradients in a second one of the same layout, so that one dispatch can
 * update all of them. Between slots lie zeros.
 */
export class ParameterArena {
  readonly parameters: readonly Tensor[]
  /** All values, flat, [length]. */
  readonly values: Tensor
  /** All gradients, flat, [length]; a slot holds nothing useful while its parameter has no `grad`. */
  readonly gradients: Tensor
  /** int32 [length / 64]: which parameter a block of 64 elements belongs to. */
  readonly blockSlot: Tensor
  readonly length: number
  readonly #offsets: readonly number[]

  /**
   * Moves the parameters (float32 leaves) into the arena; they stay the same Tensor objects.
   * @throws ShapeError for no parameters, one given twice, or int32
   */
  constructor(parameters: readonly Tensor[]) {
    checkTensors('ParameterArena', parameters)
    const [first] = parameters
    if (!first || new Set(parameters).size !== parameters.length || parameters.some(({ dtype }) => dtype !== 'float32')) {
      throw new ShapeError(`ParameterArena: got ${parameters.length} tensors; takes at least one, each once and of float32`)
    }
    const { device } = first
    const { offsets, length } = slotsOf(parameters)
    this.parameters = parameters
    this.#offsets = offsets
    this.length = length
    const blocks = parameters.flatMap(({ size }, slot) => Array(spaceOf(size) / ARENA_BLOCK).fill(slot))
    // An arena outlives the scope it is made in, as its parameters do.
    const [values, gradients, blockSlot] = withoutScope(() => [
      zeros([this.length], { device }),
      zeros([this.length], { device }),
      tensor(Int32Array.from(blocks), { device }),
    ])
    this.values = values!
    this.gradients = gradients!
    this.blockSlot = blockSlot!
    withoutScope(() => {
      settle(parameters, this.values, offsets)
      parameters.forEach((parameter, slot) => {
        parameter.gradSlot = this.slot(this.gradients, slot)
      })
    })
  }

  /** Frees the gradients and lets go of the values, which live on with their parameters. */
  dispose(): void {
    this.zeroGrad()
    for (const parameter of this.parameters) {
      parameter.gradSlot?.dispose()
      parameter.gradSlot = undefined
    }
    for (const flat of [this.values, this.gradients, this.blockSlot]) flat.dispose()
  }

  /** A flat tensor of the arena's layout, of undefined content. */
  like(): Tensor {
    return empty([this.length], 'float32', this.values.device)
  }

  /** The part of a flat tensor of the arena's layout that belongs to one parameter, in its shape. */
  slot(flat: Tensor, index: number): Tensor {
    checkWhole('ParameterArena', index, 'a slot', 0, this.parameters.length - 1)
    const { shape, strides } = this.parameters[index]!
    return partOf(flat, shape, strides, flat.offset + this.#offsets[index]!)
  }

  /** Copies gradients that lie elsewhere (made before the arena, or set by hand) to their slots. */
  gather(): void {
    this.parameters.forEach((parameter) => {
      const { grad } = parameter
      if (!grad || grad.storage === this.gradients.storage) return
      const slot = withoutScope(() => parameter.gradSlot!.detach())
      copyInto(grad, slot)
      parameter.grad = slot
    })
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const parameter of this.parameters) {
      parameter.grad?.dispose()
      parameter.grad = undefined
    }
  }
}
