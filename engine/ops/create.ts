import { type Arange, arangeInt, arange as arangeKernel, fill, wordOf } from '../../kernels/copy/index.ts'
import { type Random, random } from '../../kernels/random/index.ts'
import { type Device, defaultDevice } from '../device.ts'
import { type Dtype, ITEM_BYTES, isFloat, refuseHalf, scalarOf } from '../dtype.ts'
import { ShapeError } from '../errors.ts'
import { drawFrom } from '../random.ts'
import { run, words } from '../run.ts'
import { MAX_ELEMENTS, type Shape } from '../shape.ts'
import { empty, type Tensor } from '../tensor.ts'

export interface CreateOptions {
  /** Default 'float32'. */
  dtype?: Dtype
  requiresGrad?: boolean
  device?: Device
}

/** An uninitialised tensor, while errors name the op that makes it. */
function allocate(
  op: string,
  shape: Shape,
  { dtype = 'float32', requiresGrad = false, device = defaultDevice() }: CreateOptions,
): Tensor {
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
  if (!Number.isInteger(value) || Math.abs(value) > 0x7fffffff) {
    throw new ShapeError(`${op}: got ${value}; int32 takes whole numbers of at most 31 bits`)
  }
}

/**
 * A tensor of one value.
 * @throws ShapeError for dims below 1, or a value that the dtype cannot hold
 */
export function full(shape: Shape, value: number, options: CreateOptions = {}): Tensor {
  if (options.dtype === 'int32') checkInt('full', value)
  const t = allocate('full', shape, options)
  const word = wordOf(value, t.dtype === 'int32' ? 'i32' : scalarOf(t.dtype))
  // Two halves a word; what lies behind the last one is nobody's.
  const count = Math.ceil((t.size * ITEM_BYTES[t.dtype]) / 4)
  run(fill, { count, word }, [words(t)])
  return t
}

/** A tensor of zeros. @throws ShapeError for dims below 1 */
export function zeros(shape: Shape, options: CreateOptions = {}): Tensor {
  return full(shape, 0, options)
}

/** A tensor of ones. @throws ShapeError for dims below 1 */
export function ones(shape: Shape, options: CreateOptions = {}): Tensor {
  return full(shape, 1, options)
}

/**
 * The numbers start, start + step, … below `stop` (above it for a negative step), as a tensor of one dim: `arange(stop)`,
 * `arange(start, stop)` or `arange(start, stop, step)`, then options. float32 unless `dtype` says int32.
 * @throws ShapeError for float16, and when there are no such numbers
 */
export function arange(stop: number, options?: CreateOptions): Tensor
export function arange(start: number, stop: number, options?: CreateOptions): Tensor
export function arange(start: number, stop: number, step: number, options?: CreateOptions): Tensor
export function arange(...args: (number | CreateOptions | undefined)[]): Tensor {
  const numbers = args.filter((arg) => typeof arg === 'number')
  const options = args.find((arg) => typeof arg === 'object') ?? {}
  const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : (numbers as [number, number, number?])
  const count = Math.ceil((stop - start) / step)
  if (!(count >= 1 && count <= MAX_ELEMENTS))
    throw new ShapeError(`arange: there are ${count} numbers from ${start} to ${stop} by ${step}`)
  if (options.dtype === 'int32') for (const value of [start, step, start + (count - 1) * step]) checkInt('arange', value)
  refuseHalf('arange', { dtype: options.dtype ?? 'float32' })
  const t = allocate('arange', [count], options)
  run<Arange>(t.dtype === 'int32' ? arangeInt : arangeKernel, { count, start, step }, [t])
  return t
}

function drawn(op: string, distribution: Random['distribution'], shape: Shape, options: CreateOptions): Tensor {
  if ((options.dtype ?? 'float32') !== 'float32') throw new ShapeError(`${op}: got dtype ${options.dtype}, makes float32`)
  const t = allocate(op, shape, options)
  const draw = drawFrom(t.device.random)
  run(random, { count: t.size, distribution, ...draw.words }, [t], { refresh: () => draw.next() })
  return t
}

/** Standard normal numbers of the device's random state. @throws ShapeError for dims below 1 */
export function randn(shape: Shape, options: CreateOptions = {}): Tensor {
  return drawn('randn', 'normal', shape, options)
}

/** Numbers evenly distributed over [0, 1), of the device's random state. @throws ShapeError for dims below 1 */
export function rand(shape: Shape, options: CreateOptions = {}): Tensor {
  return drawn('rand', 'uniform', shape, options)
}
