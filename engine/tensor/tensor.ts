import { toHalfWords } from '../../kernels/half.ts'
import type { Layout } from '../../kernels/layout.ts'
import { checkFunction, refusal } from '../base/checks.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import { ArgumentError, OutOfMemoryError, ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkDevice, defaultDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { bindingAlignment, checkDtype, type Dtype, ITEM_BYTES, isFloat } from '../layout/dtype.ts'
import { MOST_SHOWN, type NestedValues, nestValues } from '../layout/nested.ts'
import { checkShape, format, rowMajorLayout, type Shape } from '../layout/shape.ts'
import { rowMajor, type TensorLayout, tensorLayout } from '../layout/tensorLayout.ts'
import { type TensorData, valuesOfBytes } from '../layout/values.ts'
import { Storage } from '../memory/storage.ts'
import { Version } from '../memory/version.ts'
import { copyInto } from './copies.ts'
import { checkRequiresGrad, describeTensor } from './facts.ts'
import { innermostScope, type Scope } from './scope.ts'

export type { NestedValues } from '../layout/nested.ts'
export type { TensorData } from '../layout/values.ts'

/** Frees the memory of tensors that are garbage-collected without `dispose()`. */
const dropped = new FinalizationRegistry<Storage<Device>>((storage) => storage.drop())

/** The op on the tape that made a tensor. */
export interface GradNode {
  /** The op's name. */
  readonly name: string
  retain(): this
  release(): void
}

/** While set, it is called with a tensor and its present gradient each time that gradient is about to be read or replaced. */
export const gradientWatcher = new ContextVariable<((leaf: Tensor, grad: Tensor | undefined) => void) | undefined>(undefined)

/**
 * An n-dimensional array on a device. It is a view of a Storage: element (i, j, …) lies at `offset + i * strides[0] + j * strides[1] + …`.
 * Every op is also a method (see methods.ts). No op but `write()` and an optimizer's step changes the values.
 */
export class Tensor implements Layout {
  /** @internal */
  storage: Storage<Device>
  /** Shape, strides and offset. @internal */
  layout: TensorLayout
  readonly dtype: Dtype
  /** Counts the changes in place; views share it. @internal */
  version: Version
  /** A parameter's slot in an arena of gradients: `backward()` puts the gradient into this memory. @internal */
  gradSlot: Tensor | undefined
  /** The op that made the tensor, while it is on the tape; leaves have none. @internal */
  node: GradNode | undefined
  /** The tensor whose row-major copy this is. A copy does not keep it. @internal */
  copiedFrom: WeakRef<Tensor> | undefined
  /** Whether all elements are known to be 1, as those of the gradient from which a backward pass begins. @internal */
  allOnes = false
  #requiresGrad = false
  #grad: Tensor | undefined
  /** The values of the last read, with the count of the version then. Only few values are kept, for `toString`. */
  #seen: { values: TensorData; count: number } | undefined
  /** The scope that frees the tensor. Without one, the garbage collector may find it dropped. */
  #scope: Scope | undefined
  /** The tensor's place in its scope. @internal */
  place = 0
  #disposed = false

  /** Takes over one of the caller's references to `storage`. @internal */
  constructor(storage: Storage<Device>, layout: Layout, dtype: Dtype, version = new Version()) {
    this.storage = storage
    this.layout = tensorLayout(layout)
    this.dtype = dtype
    this.version = version
    this.adopt(innermostScope.current)
  }

  get device(): Device {
    return this.storage.device
  }

  get shape(): Shape {
    return this.layout.shape
  }

  /** By dim, the distance between neighbouring elements, in elements. */
  get strides(): Shape {
    return this.layout.strides
  }

  /** The place of the first element in the storage, in elements. */
  get offset(): number {
    return this.layout.offset
  }

  /**
   * Whether gradients flow to or through this tensor. It can be switched on leaves, for what is computed from then on.
   * @throws ArgumentError when it is set to true for int32, or to false for the result of an op on the tape
   */
  get requiresGrad(): boolean {
    return this.#requiresGrad
  }

  set requiresGrad(requires: boolean) {
    checkRequiresGrad(this, requires)
    this.#requiresGrad = requires
  }

  /** The gradient that `backward()` adds to on leaves. @throws ArgumentError when set to a value that is no tensor and not undefined */
  get grad(): Tensor | undefined {
    gradientWatcher.current?.(this, this.#grad)
    return this.#grad
  }

  set grad(grad: Tensor | undefined) {
    if (grad !== undefined && !(grad instanceof Tensor)) throw refusal('grad', grad, 'a tensor or undefined')
    gradientWatcher.current?.(this, this.#grad)
    this.#grad = grad
  }

  get size(): number {
    return this.layout.size
  }

  /** Exclusive end of the elements in the storage. */
  get end(): number {
    return this.layout.end
  }

  get ndim(): number {
    return this.shape.length
  }

  /** Tells whether the elements lie in row-major order without gaps. */
  isContiguous(): boolean {
    return this.layout.rowMajor
  }

  /** Returns this tensor if kernels can bind it (row-major, aligned start), else a row-major copy off the tape. */
  contiguous(): Tensor {
    this.#live('contiguous')
    if (this.isContiguous() && this.offset % bindingAlignment(this.dtype) === 0) return this
    return copyOf(this)
  }

  /**
   * Reads the values in row-major order, as they are after all work recorded so far.
   * @returns a Float32Array of float32 and float16, an Int32Array of int32; T says which to the compiler
   * @throws DeviceLostError, OutOfMemoryError, ValidationError or KernelCompileError from ops recorded before
   */
  async data<T extends TensorData = TensorData>(): Promise<T> {
    this.#live('data')
    const { dtype, size } = this
    const { count } = this.version
    const source = this.contiguous()
    const bytes = ITEM_BYTES[dtype]
    const place = { buffer: source.storage.buffer, offset: source.offset * bytes }
    const reading = this.device.read(place, 4 * Math.ceil((size * bytes) / 4))
    if (source !== this) source.dispose()
    const values = valuesOfBytes(await reading, dtype, size)
    if (size <= MOST_SHOWN) this.#seen = { values: values.slice(), count }
    return values as T
  }

  /**
   * Reads the values as lists, nested as deep as there are dims; a number for rank 0.
   * @throws as `data`
   */
  async array<T extends NestedValues = NestedValues>(): Promise<T> {
    return nestValues(await this.data(), this.shape) as T
  }

  /** Reads the value of a tensor of one element. @throws ShapeError when the tensor has more */
  async item(): Promise<number> {
    this.#live('item')
    if (this.size !== 1) throw new ShapeError(`item: shape ${format(this.shape)} has ${this.size} elements, not 1`)
    return (await this.data())[0]!
  }

  /**
   * Overwrites the values, in row-major order from the host, or with those of another tensor, which a captured step copies at every replay. float16
   * rounds to the nearest. No gradient flows.
   * @param data values, or a tensor of the same shape and dtype on the same device
   * @param update computes the values before every replay of a capture, of the type and length of `data`
   * @throws ShapeError when the type or length of `data` does not fit, or the tensor is a strided view; ArgumentError when `update` is no
   *   function
   */
  write(data: TensorData | Tensor, update?: () => TensorData): void {
    if (data instanceof Tensor) {
      if (update !== undefined) throw refusal('write', update, 'no update beside a tensor')
      this.#copy(data)
      return
    }
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
    // A device writes whole words; where a float16 view begins or ends inside a word, the other half must stay.
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
      return (dtype === 'float16' ? toHalfWords(values) : values) as Float32Array<ArrayBuffer>
    }
    this.device.uses(storage.buffer, this.version, this.device.op || 'write')
    const target = { buffer: storage.buffer, offset: offset * bytes, owner: storage }
    this.device.write(target, encode(data), update && (() => encode(update())))
  }

  #copy(source: Tensor): void {
    const [from, to] = [source, this].map((t) => `${t.dtype} ${format(t.shape)}`)
    if (from !== to || source.device !== this.device) {
      const where = source.device === this.device ? '' : ' of another device'
      throw new ShapeError(`write: ${from}${where} into ${to}, takes a tensor of the same shape, dtype and device`)
    }
    const [own, other] = [this.#live('write'), source.#live('write')]
    // A kernel cannot read and write one buffer.
    const values = own === other ? copyOf(source) : source
    copyInto(values, this)
    if (values !== source) values.dispose()
  }

  /** Returns a view of the same values off the tape. */
  detach(): Tensor {
    this.#live('detach')
    return view(this)
  }

  /** Frees the memory, unless a view or the tape still needs it. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#leaveScope()
    this.storage.release()
    this.node?.release()
  }

  /** Frees the memory at the end of the block of a declaration with `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Describes the tensor: dtype, shape, device, and the values if they were read and have not changed since. */
  toString(): string {
    return describeTensor(this, this.#seen?.count === this.version.count ? this.#seen.values : undefined)
  }

  /** Gives `JSON.stringify` the text. @internal */
  toJSON(): string {
    return this.toString()
  }

  /** Gives Node's `console.log` the text. @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /** Moves the values into the memory of `target`, a tensor of the same size; parameters enter an arena so. @internal */
  rebind(target: Tensor): void {
    copyInto(this, target)
    const scope = this.#leaveScope()
    this.storage.release()
    this.storage = target.storage.retain()
    this.layout = tensorLayout(rowMajorLayout(this.shape, target.offset))
    this.adopt(scope)
    target.version.label = this.version.label
    this.version.moveTo(target.version)
    this.version = target.version
  }

  /** Moves the tensor from its scope to the scope of `owner`, so that both live as long. @internal */
  joinScopeOf(owner: Tensor): this {
    this.#leaveScope()
    this.adopt(owner.#scope)
    return this
  }

  /** Enters a scope, having left its own one. @internal */
  adopt(scope: Scope | undefined): void {
    this.#scope = scope
    if (scope) scope.add(this)
    else dropped.register(this, this.storage, this)
  }

  /** Leaves the scope, or the care of the garbage collector. @returns the scope */
  #leaveScope(): Scope | undefined {
    const scope = this.#scope
    if (scope) scope.delete(this)
    else dropped.unregister(this)
    return scope
  }

  #live(op: string): Storage<Device> {
    if (this.#disposed) throw disposedError(op, this)
    return this.storage
  }
}

/** The error for an op on a disposed tensor. */
export function disposedError(op: string, { shape }: { shape: Shape }): ArgumentError {
  return new ArgumentError(`${op}: a tensor of shape ${format(shape)} was used after it was disposed`)
}

/** @throws OutOfMemoryError that names the op and the shape */
function allocate(op: string, { shape, size }: TensorLayout, dtype: Dtype, device: Device): Storage<Device> {
  try {
    return new Storage(device, size * ITEM_BYTES[dtype])
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error
    throw new OutOfMemoryError(`${op} of shape ${format(shape)}: ${error.message}`)
  }
}

/**
 * Makes a tensor of undefined content.
 * @throws ShapeError for dims below 1 or an unknown dtype; UserError for float16 on a device without it; ArgumentError when `device` is no
 *   device; OutOfMemoryError
 */
export function empty(shape: Shape, dtype: Dtype = 'float32', device: Device = defaultDevice()): Tensor {
  checkDevice('empty', device)
  const op = device.op || 'empty'
  checkShape(op, shape)
  checkDtype(op, dtype, device)
  return emptyOf(rowMajor(shape), dtype, device)
}

/** Makes a tensor of undefined content of a row-major layout, which another tensor has or a check has passed. @throws OutOfMemoryError */
export function emptyOf(layout: TensorLayout, dtype: Dtype, device: Device): Tensor {
  return new Tensor(allocate(device.op || 'empty', layout, dtype, device), layout, dtype)
}

/** Makes another view of a tensor's memory, off the tape. What the layout leaves out is as in `t`. */
export function view(t: Tensor, layout?: Partial<Layout>): Tensor {
  if (t.disposed) throw disposedError(t.device.op || 'view', t)
  const whole = layout
    ? { shape: layout.shape ?? t.shape, strides: layout.strides ?? t.strides, offset: layout.offset ?? t.offset }
    : t.layout
  return new Tensor(t.storage.retain(), whole, t.dtype, t.version)
}

/** Makes a view, such as a slot of an arena, whose changes count for itself and for `t` as a whole but not for other parts of `t`. */
export function partOf(t: Tensor, layout: Layout): Tensor {
  const part = view(t, layout)
  part.version = new Version(t.version)
  return part
}

/** Makes a row-major copy in memory of its own, off the tape. */
export function copyOf(t: Tensor): Tensor {
  const copy = empty(t.shape, t.dtype, t.device)
  copyInto(t, copy)
  copy.copiedFrom = new WeakRef(t)
  return copy
}
