import { seededRandom } from '../../kernels/fill.ts'
import { fromHalves, toHalves } from '../../kernels/half.ts'
import { bindingDtype, type Scalar } from '../../kernels/spec.ts'
import type { Device } from '../device/device.ts'
import type { Binding } from '../memory/bindings.ts'
import type { PooledBuffer } from '../memory/deviceBuffer.ts'
import type { TuningTask } from './extractTasks.ts'

/** Numbers that are drawn; larger memory repeats them. */
const DRAWN = 1 << 16
/** Elements after which one buffer's numbers start behind those of the one before: equal operands would hide mistakes. */
const SHIFT = 7919
/** Bytes of a buffer that are compared whole; of larger ones a third of it at either end and in the middle. */
const COMPARED = 12 << 20
/** Norm-relative difference of two variants that is rounding. */
const TOLERANCE = { f32: 1e-4, f16: 1e-2 }

/**
 * Numbers in (0, 1], of which roots, logarithms and quotients are finite; integers 0 and 1, which are classes and places
 * wherever there are two.
 */
const drawn = new Map<Scalar, Float32Array | Uint16Array | Int32Array>()

function drawnOf(dtype: Scalar): Float32Array | Uint16Array | Int32Array {
  let numbers = drawn.get(dtype)
  if (!numbers) {
    const random = seededRandom(1)
    const uniform = Float32Array.from({ length: 2 * DRAWN }, () => 1 - random())
    if (dtype === 'f32') numbers = uniform
    else numbers = dtype === 'f16' ? toHalves(uniform) : Int32Array.from(uniform, (value) => Number(value > 0.5))
    drawn.set(dtype, numbers)
  }
  return numbers
}

/** Memory of a problem's sizes, apart from everybody's. */
export class Scratch {
  readonly bindings: Binding[]
  readonly #device: Device
  readonly #problem: TuningTask
  readonly #buffers: PooledBuffer[]
  /** By buffer, that of the first binding in it. */
  readonly #dtypes: Scalar[]

  /** @throws OutOfMemoryError */
  constructor(device: Device, problem: TuningTask) {
    const { spec, operands, buffers } = problem
    this.#device = device
    this.#problem = problem
    this.#buffers = []
    try {
      for (const bytes of buffers) this.#buffers.push(device.acquirePooled(bytes))
    } catch (error) {
      this.dispose()
      throw error
    }
    this.bindings = operands.map(({ buffer, offset }) => ({ buffer: this.#buffers[buffer]!, offset }))
    this.#dtypes = buffers.map((_, i) => {
      return bindingDtype(spec.bindings[operands.findIndex(({ buffer }) => buffer === i)]!, problem.problem)
    })
    buffers.forEach((_, i) => {
      this.#fill(i)
    })
  }

  /** Gives what kernels write the values that it had at first. */
  reset(): void {
    for (const i of this.#written()) this.#fill(i)
  }

  /** What was written, for `differs`. */
  async results(): Promise<ArrayBuffer[]> {
    const reads = this.#written().flatMap((i) => {
      const bytes = this.#problem.buffers[i]!
      const buffer = this.#buffers[i]!
      if (bytes <= COMPARED) return [this.#device.read({ buffer, offset: 0 }, bytes)]
      const third = COMPARED / 3
      const middle = 256 * Math.floor(bytes / 512)
      return [0, middle, bytes - third].map((offset) => this.#device.read({ buffer, offset }, third))
    })
    return Promise.all(reads)
  }

  /** Whether results differ by more than rounding; NaN equals NaN. */
  differs(results: readonly ArrayBuffer[], others: readonly ArrayBuffer[]): boolean {
    const half = this.#dtypes.includes('f16')
    const dtypes = this.#written().flatMap((i) => {
      return Array<Scalar>(this.#problem.buffers[i]! <= COMPARED ? 1 : 3).fill(this.#dtypes[i]!)
    })
    return results.some((result, i) => !(difference(result, others[i]!, dtypes[i]!) <= (half ? TOLERANCE.f16 : TOLERANCE.f32)))
  }

  dispose(): void {
    for (const buffer of this.#buffers) this.#device.release(buffer)
  }

  /** Buffers that the kernel writes. */
  #written(): number[] {
    const { spec, operands } = this.#problem
    return [...new Set(operands.flatMap(({ buffer }, i) => (spec.bindings[i]!.access === 'read_write' ? [buffer] : [])))]
  }

  #fill(i: number): void {
    const numbers = drawnOf(this.#dtypes[i]!)
    const size = numbers.BYTES_PER_ELEMENT
    const bytes = this.#problem.buffers[i]!
    const start = (SHIFT * i) % DRAWN
    for (let at = 0; at < bytes; at += DRAWN * size) {
      const count = Math.min(DRAWN, Math.ceil((bytes - at) / size))
      this.#device.write({ buffer: this.#buffers[i]!, offset: at }, numbers.subarray(start, start + count))
    }
  }
}

/** Norm-relative difference of two memories; infinite where integers, or NaN and infinity, are not the same. */
function difference(a: ArrayBuffer, b: ArrayBuffer, dtype: Scalar): number {
  const values = (buffer: ArrayBuffer) => {
    if (dtype === 'f32') return new Float32Array(buffer)
    return dtype === 'f16' ? fromHalves(new Uint16Array(buffer)) : new Int32Array(buffer)
  }
  const [x, y] = [values(a), values(b)]
  const whole = dtype === 'i32' || dtype === 'u32'
  let [sum, norm] = [0, 0]
  for (let i = 0; i < x.length; i++) {
    const [one, other] = [x[i]!, y[i]!]
    if (one === other || Object.is(one, other)) {
      if (Number.isFinite(one)) norm += one * one
      continue
    }
    if (whole || !Number.isFinite(one - other)) return Number.POSITIVE_INFINITY
    sum += (one - other) ** 2
    norm += one * one
  }
  return Math.sqrt(sum / (norm || 1))
}
