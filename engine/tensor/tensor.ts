import { fromHalves, toHalf } from '../../kernels/half.ts'
import { checkFunction, refusal } from '../base/checks.ts'
import { ArgumentError, OutOfMemoryError, ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkDevice, defaultDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { bindingAlignment, checkDtype, type Dtype, ITEM_BYTES, isFloat } from '../layout/dtype.ts'
import { checkShape, format, isRowMajor, rowMajorStrides, type Shape, sizeOf } from '../layout/shape.ts'
import { Storage } from '../memory/storage.ts'
import { Version } from '../memory/version.ts'
import { copyInto } from './copies.ts'
import { currentScope, type Scope } from './scope.ts'

/** Values on the host: an Int32Array of int32, a Float32Array of float32 and float16. */
export type TensorData = Float32Array | Int32Array

/** Frees the memory of tensors that were dropped without `dispose()`. */
const dropped = new FinalizationRegistry<Storage<Device>>((storage) => storage.drop())

/** The op that made a tensor, on the tape. */
export interface GradNode {
  /** The op's name. */
  readonly name: string
  retain(): this
  release(): void
}

/** Called with a tensor whose gradient is about to be read or set, and that gradient, while set; see `watchGradients`. */
let gradientWatcher: ((leaf: Tensor, grad: Tensor | undefined) => void) | undefined

/** Calls `watch` whenever the gradient of a tensor is read or set inside `fn`, before it is. */
export function watchGradients<T>(watch: (leaf: Tensor, grad: Tensor | undefined) => void, fn: () => T): T {
  const outer = gradientWatcher
  gradientWatcher = watch
  try {
    return fn()
  } finally {
    gradientWatcher = outer
  }
}

/**
 * An n-dimensional array on a device, a view of a Storage: element (i, j, …) lies at `offset + i * strides[0] + …`.
 * Ops are methods too (see methods.ts). Immutable but for `write()`.
 */
export class Tensor {
  storage: Storage<Device>
  readonly shape: Shape
  /** Elements from one index of a dim to the next. */
  strides: Shape
  /** Of the first element, in elements. */
  offset: number
  readonly dtype: Dtype
  /** Counts changes of the values in place; shared with views. */
  version: Version
  /** Whether gradients flow to or through this tensor. */
  requiresGrad = false
  /** Memory in which a parameter's gradient must come to lie (a slot of an arena). */
  gradSlot: Tensor | undefined
  /** The op that made it, while it is on the tape. */
  node: GradNode | undefined
  #grad: Tensor | undefined
  #scope: Scope | undefined
  #disposed = false

  /** Takes over one reference to `storage`. */
  constructor(storage: Storage<Device>, shape: Shape, strides: Shape, offset: number, dtype: Dtype, version = new Version()) {
    this.storage = storage
    this.shape = shape
    this.strides = strides
    this.offset = offset
    this.dtype = dtype
    this.version = version
    this.#scope = currentScope()
    this.#scope?.add(this)
    dropped.register(this, storage, this)
  }

  get device(): Device {
    return this.storage.device
  }

  /** Set on leaves by `backward()`. @throws ArgumentError when it is set to what is neither a tensor nor undefined */
  get grad(): Tensor | undefined {
    gradientWatcher?.(this, this.#grad)
    return this.#grad
  }

  set grad(grad: Tensor | undefined) {
    if (grad !== undefined && !(grad instanceof Tensor)) throw refusal('grad', grad, 'a tensor or undefined')
    gradientWatcher?.(this, this.#grad)
    this.#grad = grad
  }

  get size(): number {
    return sizeOf(this.shape)
  }

  /** One behind the last element of the memory that it covers. */
  get end(): number {
    return this.shape.reduce((end, size, d) => end + (size - 1) * this.strides[d]!, this.offset + 1)
  }

  get ndim(): number {
    return this.shape.length
  }

  /** Whether the elements lie in row-major order without gaps. */
  isContiguous(): boolean {
    return isRowMajor(this.shape, this.strides)
  }

  /** This tensor where a kernel can bind it as it is (row-major, start aligned), else a row-major copy. No gradient flows. */
  contiguous(): Tensor {
    this.#live('contiguous')
    if (this.isContiguous() && this.offset % bindingAlignment(this.dtype) === 0) return this
    const out = empty(this.shape, this.dtype, this.device)
    copyInto(this, out)
    return out
  }

  /**
   * The values, row-major, as they are after everything recorded so far; of float16 as a Float32Array.
   * @throws DeviceLostError, OutOfMemoryError, ValidationError, KernelCompileError: whatever ops before it ran into
   */
  async data(): Promise<TensorData> {
    this.#live('data')
    const source = this.contiguous()
    const { buffer } = source.storage
    const { dtype, size } = this
    const bytes = ITEM_BYTES[dtype]
    const reading = this.device.read({ buffer, offset: source.offset * bytes }, 4 * Math.ceil((size * bytes) / 4))
    if (source !== this) source.dispose()
    const memory = await reading
    if (dtype === 'float16') return fromHalves(new Uint16Array(memory, 0, size))
    return dtype === 'float32' ? new Float32Array(memory) : new Int32Array(memory)
  }

  /** The value of a tensor of one element. @throws ShapeError when it has more */
  async item(): Promise<number> {
    this.#live('item')
    if (this.size !== 1) throw new ShapeError(`item: shape ${format(this.shape)} has ${this.size} elements, not 1`)
    return (await this.data())[0]!
  }

  /**
   * Overwrites the values, row-major; those of float16 are rounded to it.
   * @param update gives the values of every replay of a capture, of the same type and length
   * @throws ShapeError when the length or type of `data` differs, or this is a strided view; ArgumentError for an `update` that is no function
   */
  write(data: TensorData, update?: () => TensorData): void {
    const { dtype, offset, shape, size } = this
    const check = (values: TensorData): void => {
      const matches = isFloat(dtype) ? values instanceof Float32Array : values instanceof Int32Array
      if (matches && values.length === size && this.isContiguous()) return
      const target = `${dtype} ${format(shape)}`
      if (!this.isContiguous()) throw new ShapeError(`write: ${target} is a strided view; write to what it is a view of`)
      const takes = isFloat(dtype) ? 'a Float32Array' : 'an Int32Array'
      throw new ShapeError(`write: ${kindOf(values)} into ${target}, takes ${takes} of ${size} values`)
    }
    check(data)
    if (update !== undefined) checkFunction('write', update, 'update')
    const storage = this.#live('write')
    const bytes = ITEM_BYTES[dtype]
    // Writes of the device move whole words: a view that begins or ends inside one must leave the other half alone.
    const words = (offset * bytes) % 4 === 0 && ((size * bytes) % 4 === 0 || (offset + size) * bytes === storage.bytes)
    if (!words) {
      const whole = empty(this.shape, dtype, this.device)
      whole.write(data, update)
      copyInto(whole, this)
      whole.dispose()
      return
    }
    const encode = (values: TensorData) => {
      check(values)
      return (dtype === 'float16' ? wordsOfHalves(values) : values) as Float32Array<ArrayBuffer>
    }
    this.device.uses(storage.buffer, this.version, this.device.op || 'write')
    const target = { buffer: storage.buffer, offset: offset * bytes, owner: storage }
    this.device.write(target, encode(data), update && (() => encode(update())))
  }

  /** The same values off the tape, sharing memory. */
  detach(): Tensor {
    this.#live('detach')
    return view(this, this.shape, this.strides, this.offset)
  }

  /** Frees the memory, unless a view or the tape still needs it. Calling it twice is allowed. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#scope?.delete(this)
    dropped.unregister(this)
    this.storage.release()
    this.node?.release()
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /** Moves the values into the memory of `target`, of the same size, and stays there: how parameters enter an arena. */
  rebind(target: Tensor): void {
    copyInto(this, target)
    this.storage.release()
    dropped.unregister(this)
    const storage = target.storage.retain()
    dropped.register(this, storage, this)
    this.storage = storage
    this.strides = rowMajorStrides(this.shape)
    this.offset = target.offset
    target.version.label = this.version.label
    this.version.moveTo(target.version)
    this.version = target.version
  }

  /** Ties the lifetime to that of `owner`: it leaves the scope it was made in for the one `owner` is in. */
  moveTo(owner: Tensor): this {
    this.#scope?.delete(this)
    this.#scope = owner.#scope
    this.#scope?.add(this)
    return this
  }

  /** Called by a scope that hands the tensor to the one around it. */
  adopt(scope: Scope | undefined): void {
    this.#scope = scope
    scope?.add(this)
  }

  #live(op: string): Storage<Device> {
    if (this.#disposed) throw disposedError(op, this)
    return this.storage
  }
}

/** The error for a tensor that was disposed. */
export function disposedError(op: string, { shape }: { shape: Shape }): ArgumentError {
  return new ArgumentError(`${op}: a tensor of shape ${format(shape)} was used after it was disposed`)
}

/** Numbers as halves, and a zero where that makes the last word whole. */
function wordsOfHalves(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2))
  for (let i = 0; i < values.length; i++) halves[i] = toHalf(values[i]!)
  return halves
}

/** @throws OutOfMemoryError that names the op and the shape */
function allocate(op: string, shape: Shape, dtype: Dtype, device: Device): Storage<Device> {
  try {
    return new Storage(device, sizeOf(shape) * ITEM_BYTES[dtype])
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error
    throw new OutOfMemoryError(`${op} of shape ${format(shape)}: ${error.message}`)
  }
}

/** A tensor of undefined content. @throws ShapeError for dims below 1, or an unknown dtype; ArgumentError for what is no device */
export function empty(shape: Shape, dtype: Dtype = 'float32', device: Device = defaultDevice()): Tensor {
  checkDevice('empty', device)
  const op = device.op || 'empty'
  checkShape(op, shape)
  checkDtype(op, dtype, device)
  return new Tensor(allocate(op, shape, dtype, device), [...shape], rowMajorStrides(shape), 0, dtype)
}

/** Another view of the same memory; off the tape. */
export function view(t: Tensor, shape: Shape, strides: Shape, offset: number): Tensor {
  if (t.disposed) throw disposedError(t.device.op || 'view', t)
  return new Tensor(t.storage.retain(), shape, strides, offset, t.dtype, t.version)
}

/** A view of memory whose changes count for itself and for all of `t`, but not for other parts of it, as a slot of an arena. */
export function partOf(t: Tensor, shape: Shape, strides: Shape, offset: number): Tensor {
  const part = view(t, shape, strides, offset)
  part.version = new Version(t.version)
  return part
}
