import { seededRandom } from '../../kernels/fill.ts'
import { fromHalves, toHalves } from '../../kernels/half.ts'
import { bindingDtype, type Scalar } from '../../kernels/spec.ts'
import { getOrMake } from '../base/maps.ts'
import type { Device } from '../device/device.ts'
import type { Binding } from '../memory/bindings.ts'
import type { PooledBuffer } from '../memory/deviceBuffer.ts'
import type { TuningTask } from './extractTasks.ts'

/** The number of different initial values. Larger buffers repeat them. */
const PERIOD = 1 << 16
/** The shift between the values of one buffer and the next, since equal operands would hide mistakes. */
const SHIFT = 7919
/** The most bytes of a buffer that are compared; in a larger buffer a third each at the start, in the middle and at the end. */
const COMPARED = 12 << 20
/** The norm-relative difference between variants that counts as rounding. */
const TOLERANCE = { f32: 1e-4, f16: 1e-2 }

/**
 * By type, the initial values: floats in (0, 1], whose roots, logarithms and quotients are finite, and integers 0 and 1, which are valid
 * classes and indices where there are at least two.
 */
const valuesByType = new Map<Scalar, Float32Array | Uint16Array | Int32Array>()

function valuesOf(dtype: Scalar): Float32Array | Uint16Array | Int32Array {
  return getOrMake(valuesByType, dtype, () => {
    const random = seededRandom(1)
    const uniform = Float32Array.from({ length: 2 * PERIOD }, () => 1 - random())
    if (dtype === 'f32') return uniform
    return dtype === 'f16' ? toHalves(uniform) : Int32Array.from(uniform, (value) => Number(value > 0.5))
  })
}

/** Memory in which the variants of a task are tried. */
export class Scratch {
  readonly bindings: Binding[]
  readonly #device: Device
  readonly #task: TuningTask
  readonly #buffers: PooledBuffer[]
  /** By buffer, the type of the first binding in it. */
  readonly #dtypes: Scalar[]

  /** @throws OutOfMemoryError */
  constructor(device: Device, task: TuningTask) {
    const { spec, operands, buffers } = task
    this.#device = device
    this.#task = task
    this.#buffers = []
    try {
      for (const bytes of buffers) this.#buffers.push(device.acquirePooled(bytes))
    } catch (error) {
      this.dispose()
      throw error
    }
    this.bindings = operands.map(({ buffer, offset }) => ({ buffer: this.#buffers[buffer]!, offset }))
    this.#dtypes = buffers.map((_, i) => {
      return bindingDtype(spec.bindings[operands.findIndex(({ buffer }) => buffer === i)]!, task.problem)
    })
    buffers.forEach((_, i) => {
      this.#fill(i)
    })
  }

  /** Gives the buffers that the kernel writes their initial values again. */
  reset(): void {
    for (const i of this.#written()) this.#fill(i)
  }

  /** Reads the compared parts of the written buffers, for `differs`. */
  async results(): Promise<ArrayBuffer[]> {
    const reads = this.#written().flatMap((i) => {
      const bytes = this.#task.buffers[i]!
      const buffer = this.#buffers[i]!
      if (bytes <= COMPARED) return [this.#device.read({ buffer, offset: 0 }, bytes)]
      const third = COMPARED / 3
      const middle = 256 * Math.floor(bytes / 512)
      return [0, middle, bytes - third].map((offset) => this.#device.read({ buffer, offset }, third))
    })
    return Promise.all(reads)
  }

  /** Tells whether results differ by more than rounding; NaN equals NaN. */
  differs(results: readonly ArrayBuffer[], others: readonly ArrayBuffer[]): boolean {
    const half = this.#dtypes.includes('f16')
    const dtypes = this.#written().flatMap((i) => {
      return Array<Scalar>(this.#task.buffers[i]! <= COMPARED ? 1 : 3).fill(this.#dtypes[i]!)
    })
    return results.some((result, i) => !(difference(result, others[i]!, dtypes[i]!) <= (half ? TOLERANCE.f16 : TOLERANCE.f32)))
  }

  dispose(): void {
    for (const buffer of this.#buffers) this.#device.release(buffer)
  }

  /** The indices of the buffers that the kernel writes. */
  #written(): number[] {
    const { spec, operands } = this.#task
    return [...new Set(operands.flatMap(({ buffer }, i) => (spec.bindings[i]!.access === 'read_write' ? [buffer] : [])))]
  }

  #fill(i: number): void {
    const values = valuesOf(this.#dtypes[i]!)
    const size = values.BYTES_PER_ELEMENT
    const bytes = this.#task.buffers[i]!
    const start = (SHIFT * i) % PERIOD
    for (let at = 0; at < bytes; at += PERIOD * size) {
      const count = Math.min(PERIOD, Math.ceil((bytes - at) / size))
      this.#device.write({ buffer: this.#buffers[i]!, offset: at }, values.subarray(start, start + count))
    }
  }
}

/** The norm-relative difference of two buffers. It is infinite where integers, NaN or infinities differ. */
function difference(a: ArrayBuffer, b: ArrayBuffer, dtype: Scalar): number {
  const values = (buffer: ArrayBuffer) => {
    if (dtype === 'f32') return new Float32Array(buffer)
    return dtype === 'f16' ? fromHalves(new Uint16Array(buffer)) : new Int32Array(buffer)
  }
  const [x, y] = [values(a), values(b)]
  const whole = dtype === 'i32' || dtype === 'u32'
  let [sum, norm] = [0, 0]
  for (let i = 0; i < x.length; i++) {
    const [left, right] = [x[i]!, y[i]!]
    if (left === right || Object.is(left, right)) {
      if (Number.isFinite(left)) norm += left * left
      continue
    }
    if (whole || !Number.isFinite(left - right)) return Number.POSITIVE_INFINITY
    sum += (left - right) ** 2
    norm += left * left
  }
  return Math.sqrt(sum / (norm || 1))
}
