import { type Arange, arangeInt, arange as arangeKernel, arangeWhole } from '../../kernels/copy/index.ts'
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
  /** Default 'float32'. */
  dtype?: Dtype
  requiresGrad?: boolean
  device?: Device
}

const OPTIONS: OptionNames<CreateOptions> = { dtype: true, requiresGrad: true, device: true }

/** An uninitialised tensor, while errors name the op that makes it. */
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

/** `full`, under the name of who calls it. */
function filled(op: string, shape: Shape, value: number, options: CreateOptions | undefined): Tensor {
  checkNumber(op, value, 'the value')
  if (options?.dtype === 'int32') checkInt(op, value)
  const t = allocate(op, shape, options)
  fillInPlace(t, value)
  return t
}

/**
 * A tensor of one value; beyond the range of float32 or float16 that is infinity.
 * @throws ShapeError for dims below 1; ArgumentError for what is no number, for int32 no whole number of 32 bits, and unknown options
 */
export function full(shape: Shape, value: number, options?: CreateOptions): Tensor {
  return filled('full', shape, value, options)
}

/** A tensor of zeros. @throws ShapeError for dims below 1; ArgumentError for unknown options */
export function zeros(shape: Shape, options?: CreateOptions): Tensor {
  return filled('zeros', shape, 0, options)
}

/** A tensor of ones. @throws ShapeError for dims below 1; ArgumentError for unknown options */
export function ones(shape: Shape, options?: CreateOptions): Tensor {
  return filled('ones', shape, 1, options)
}

/**
 * The numbers start, start + step, … below `stop` (above it for a negative step), as a tensor of one dim: `arange(stop)`,
 * `arange(start, stop)` or `arange(start, stop, step)`, then options. float32 unless `dtype` says int32.
 * Whole numbers are rounded once; of other float32 numbers the step, its multiple and the sum are rounded one after the other.
 * @throws ShapeError for float16, and when there are no such numbers; ArgumentError for what is no number, for int32 no whole number of
 *   32 bits, and unknown options
 */
export function arange(stop: number, options?: CreateOptions): Tensor
export function arange(start: number, stop: number, options?: CreateOptions): Tensor
export function arange(start: number, stop: number, step: number, options?: CreateOptions): Tensor
export function arange(...args: (number | CreateOptions | undefined)[]): Tensor {
  const given = args.findIndex((arg) => typeof arg !== 'number')
  const numbers = args.slice(0, given < 0 ? 3 : given) as number[]
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
  // float32 computes with whole numbers up to 2^24 exactly.
  const large = whole && [...ends, count].some((value) => Math.abs(value) > 2 ** 24)
  run<Arange>(t.dtype === 'int32' ? arangeInt : large ? arangeWhole : arangeKernel, { count, start, step }, [t])
  return t
}

function drawn(op: string, distribution: Random['distribution'], shape: Shape, options: CreateOptions | undefined): Tensor {
  checkOptions(op, options, OPTIONS)
  const dtype = options?.dtype ?? 'float32'
  if (dtype !== 'float32') throw new ShapeError(`${op}: got dtype ${nameOf(dtype)}, makes float32`)
  const t = allocate(op, shape, options)
  const draw = drawStream(t.device.random)
  run(random, { count: t.size, distribution, ...draw.words }, [t], { updateParams: () => draw.next() })
  return t
}

/** Standard normal numbers of the device's random state. @throws ShapeError for dims below 1; ArgumentError for unknown options */
export function randn(shape: Shape, options?: CreateOptions): Tensor {
  return drawn('randn', 'normal', shape, options)
}

/** Numbers evenly distributed over [0, 1), of the device's random state. @throws ShapeError for dims below 1; ArgumentError for unknown options */
export function rand(shape: Shape, options?: CreateOptions): Tensor {
  return drawn('rand', 'uniform', shape, options)
}
