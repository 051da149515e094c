import * as kernels from '../../kernels/copy/index.ts'
import { type Random, random } from '../../kernels/random/index.ts'
import { drawStream } from '../autograd/recomputation.ts'
import { checkBoolean, checkNumber, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDevice, defaultDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { type Dtype, INT32_MAX, INT32_MIN, isFloat, nameOf, refuseHalf } from '../layout/dtype.ts'
import { MAX_ELEMENTS, type Shape } from '../layout/shape.ts'
import { isInt32 } from '../layout/values.ts'
import { fillInPlace } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

export interface CreateOptions {
  /** The element type; default 'float32'. */
  dtype?: Dtype
  /** Whether the tensor is a leaf that gets a gradient; default false. */
  requiresGrad?: boolean
  /** The device that holds the tensor; by default the default device. */
  device?: Device
}

const OPTIONS: OptionNames<CreateOptions> = { dtype: true, requiresGrad: true, device: true }

/** Makes a tensor of undefined content; errors name `op`, unless another op is being recorded. */
function allocate(op: string, shape: Shape, options: CreateOptions | undefined): Tensor {
  checkOptions(op, options, OPTIONS)
  const { dtype = 'float32', requiresGrad = false, device = defaultDevice() } = options ?? {}
  checkDevice(op, device)
  checkBoolean(op, requiresGrad, 'requiresGrad')
  if (requiresGrad && !isFloat(dtype))
    throw new ShapeError(`${op}: got requiresGrad and ${dtype}; only float32 and float16 have gradients`)
  const outer = device.op
  device.op = outer || op
  try {
    const t = empty(shape, dtype, device)
    t.requiresGrad = requiresGrad
    return t
  } finally {
    device.op = outer
  }
}

/** @throws ShapeError for a number that an int32 tensor cannot hold */
export function checkInt(op: string, value: number): void {
  if (!isInt32(value))
    throw new ShapeError(`${op}: got ${kindOf(value)}; int32 takes whole numbers from ${INT32_MIN} to ${INT32_MAX}`)
}

/** Does what `full` does, with errors that name `op`. */
function filled(op: string, shape: Shape, value: number, options: CreateOptions | undefined): Tensor {
  checkNumber(op, value, 'the value')
  if (options?.dtype === 'int32') checkInt(op, value)
  const t = allocate(op, shape, options)
  fillInPlace(t, value)
  return t
}

/**
 * Makes a tensor with one value everywhere. float32 and float16 round it to the nearest number, beyond their range to infinity.
 * @throws ShapeError for dims below 1, or a value that int32 does not hold; ArgumentError when `value` is no number, or for unknown options
 */
export function full(shape: Shape, value: number, options?: CreateOptions): Tensor {
  return filled('full', shape, value, options)
}

/** Makes a tensor of zeros. @throws ShapeError for dims below 1; ArgumentError for unknown options */
export function zeros(shape: Shape, options?: CreateOptions): Tensor {
  return filled('zeros', shape, 0, options)
}

/** Makes a tensor of ones. @throws ShapeError for dims below 1; ArgumentError for unknown options */
export function ones(shape: Shape, options?: CreateOptions): Tensor {
  return filled('ones', shape, 1, options)
}

/**
 * Makes a tensor of one dim with the numbers start, start + step, … below `stop` (above it for a negative step). The calls are
 * `arange(stop)`, `arange(start, stop)` and `arange(start, stop, step)`, each with options after the numbers. Whole numbers are rounded to
 * float32 once; otherwise the step, its multiple and the sum are each rounded.
 * @param options.dtype 'float32' (the default) or 'int32'
 * @throws ShapeError for float16, an empty range, or a number that int32 does not hold; ArgumentError for arguments in another form, or
 *   unknown options
 */
export function arange(stop: number, options?: CreateOptions): Tensor
export function arange(start: number, stop: number, options?: CreateOptions): Tensor
export function arange(start: number, stop: number, step: number, options?: CreateOptions): Tensor
export function arange(...args: (number | CreateOptions | undefined)[]): Tensor {
  const end = args.findIndex((arg) => typeof arg !== 'number')
  const numbers = args.slice(0, end < 0 ? 3 : end) as number[]
  const options = args[numbers.length] as CreateOptions | undefined
  if (numbers.length === 0) throw refusal('arange', args[0], 'arange(stop), arange(start, stop) or arange(start, stop, step)')
  if (args.length > numbers.length + 1) {
    throw refusal('arange', args[numbers.length], 'numbers first, then one object of options')
  }
  checkOptions('arange', options, OPTIONS)
  const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : (numbers as [number, number, number?])
  const count = Math.ceil((stop - start) / step)
  if (!(count >= 1 && count <= MAX_ELEMENTS)) {
    throw new ShapeError(`arange: there are ${count} numbers from ${start} to ${stop} by ${step}; takes 1 to ${MAX_ELEMENTS}`)
  }
  if (options?.dtype === 'int32') for (const value of [start, step, start + (count - 1) * step]) checkInt('arange', value)
  refuseHalf('arange', { dtype: options?.dtype ?? 'float32' })
  const t = allocate('arange', [count], options)
  const ends = [start, start + (count - 1) * step]
  const whole = [start, step].every(Number.isInteger) && ends.every((value) => Math.abs(value) < 2 ** 31)
  // float32 is exact for whole numbers up to 2^24; beyond, a kernel computes in int32 and rounds once.
  const large = whole && [...ends, count].some((value) => Math.abs(value) > 2 ** 24)
  const kernel = t.dtype === 'int32' ? kernels.arangeInt : large ? kernels.arangeWhole : kernels.arange
  run(kernel, { count, start, step }, [t])
  return t
}

/** Fills a tensor from the device's random state. */
function sample(op: string, distribution: Random['distribution'], shape: Shape, options: CreateOptions | undefined): Tensor {
  checkOptions(op, options, OPTIONS)
  const dtype = options?.dtype ?? 'float32'
  if (dtype !== 'float32') throw new ShapeError(`${op}: got dtype ${nameOf(dtype)}, makes float32`)
  const t = allocate(op, shape, options)
  const draw = drawStream(t.device.random)
  run(random, { count: t.size, distribution, ...draw.words }, [t], { updateParams: () => draw.next() })
  return t
}

/**
 * Draws standard normal float32 numbers from the device's random state.
 * @throws ShapeError for dims below 1; ArgumentError for unknown options
 */
export function randn(shape: Shape, options?: CreateOptions): Tensor {
  return sample('randn', 'normal', shape, options)
}

/**
 * Draws float32 numbers, uniform over [0, 1), from the device's random state.
 * @throws ShapeError for dims below 1; ArgumentError for unknown options
 */
export function rand(shape: Shape, options?: CreateOptions): Tensor {
  return sample('rand', 'uniform', shape, options)
}
