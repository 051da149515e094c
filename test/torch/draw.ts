import { type Tensor, tensor } from '../../engine/index.ts'
import { broadcastShapes, sizeOf } from '../../engine/layout/shape.ts'
import { normal, testRandom } from '../harness/kernel.ts'
import { OPS } from './ops.ts'
import type { Leaf, Program } from './program.ts'

/** The inputs and other arguments of an op. */
export type Drawn = [inputs: number[], args?: Record<string, any>]

/** Draws what an op takes from what is there; undefined where nothing fits. */
export type Rule = (d: Draw) => Drawn | undefined | Promise<Drawn | undefined>

/** Largest number of elements of a value. */
const LARGEST = 400
/** Values beyond this are scaled down, so that errors are those of rounding. */
const LARGE = 8

/** A program that is being drawn: every step runs on the device at once, so that rules can look at shapes and values. */
export class Draw {
  readonly program: Program = { leaves: [], steps: [], cotangents: [] }
  readonly #leaves: Tensor[] = []
  readonly #made: Tensor[] = []
  readonly #random: () => number
  readonly #data = new Map<Tensor, ArrayLike<number>>()

  constructor(seed: number) {
    this.#random = testRandom(seed)
  }

  random(): number {
    return this.#random()
  }

  /** A whole number from 0 to n - 1. */
  below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** Numbers of steps are negative until all leaves are drawn: step k is -1 - k. */
  at(value: number): Tensor {
    return value < 0 ? this.#made[-1 - value]! : this.#leaves[value]!
  }

  shape(value: number): readonly number[] {
    return this.at(value).shape
  }

  async data(value: number): Promise<ArrayLike<number>> {
    const t = this.at(value)
    const found = this.#data.get(t) ?? (await t.data())
    this.#data.set(t, found)
    return found
  }

  /** Adds a leaf. @param value gives each element; normally distributed by default */
  leaf(
    shape: readonly number[],
    value: (index: number) => number = () => normal(this.#random),
    dtype: Leaf['dtype'] = 'float32',
  ): number {
    const data = Array.from({ length: sizeOf(shape) }, (_, i) => (dtype === 'int32' ? value(i) : Math.fround(value(i))))
    this.program.leaves.push({ dtype, shape: [...shape], data })
    const typed = dtype === 'int32' ? Int32Array.from(data) : Float32Array.from(data)
    this.#leaves.push(tensor(typed, { shape, requiresGrad: dtype === 'float32' }))
    return this.#leaves.length - 1
  }

  /** Adds a step and runs it. @returns its value @throws what the op throws, and Error for a result that is too large */
  step(op: string, inputs: number[], args: Record<string, any> = {}): number {
    const result = OPS[op]!(
      inputs.map((i) => this.at(i)),
      args,
    )
    if (result.size > LARGEST) throw new Error('too large')
    this.program.steps.push({ op, inputs, args })
    this.#made.push(result)
    return -this.#made.length
  }

  #all(): number[] {
    return [...this.#leaves.keys(), ...this.#made.map((_, k) => -1 - k)]
  }

  /** A random value of float32 with at least so many dims. */
  float(dims = 0): number {
    const fitting = this.#all().filter((i) => this.at(i).dtype === 'float32' && this.at(i).ndim >= dims)
    // Later values are likelier, so that programs are deep.
    const late = fitting.filter((i) => i < 0).slice(-4)
    if (late.length > 0 && this.#random() < 0.7) return this.pick(late)
    return fitting.length > 0
      ? this.pick(fitting)
      : this.leaf(Array.from({ length: Math.max(dims, 1) }, () => 2 + this.below(3)))
  }

  /** A random value of int32; undefined where there is none. */
  int(): number | undefined {
    const fitting = this.#all().filter((i) => this.at(i).dtype === 'int32')
    return fitting.length > 0 ? this.pick(fitting) : undefined
  }

  /** A value that broadcasts with another one: one that is there, or a new leaf with some dims of size 1. */
  beside(value: number): number {
    const shape = this.shape(value)
    const fitting = this.#all().filter((i) => this.at(i).dtype === 'float32' && this.#broadcasts(shape, this.shape(i)))
    if (fitting.length > 1 && this.#random() < 0.6) return this.pick(fitting)
    const own = shape.map((size) => (this.#random() < 0.3 ? 1 : size)).slice(this.#random() < 0.3 ? 1 : 0)
    return this.leaf(own)
  }

  #broadcasts(a: readonly number[], b: readonly number[]): boolean {
    try {
      return sizeOf(broadcastShapes('draw', a, b)) <= LARGEST
    } catch {
      return false
    }
  }

  /** A value with elements from 0.3 to 3, made of another one. */
  positive(value = this.float()): number {
    return this.step('exp', [this.step('tanh', [value])])
  }

  dim(value: number): number {
    return this.below(this.shape(value).length)
  }

  /** Some dims of a value, at least one. */
  dims(value: number): number[] {
    const all = [...this.shape(value).keys()]
    const some = all.filter(() => this.#random() < 0.6)
    return some.length > 0 ? some : [this.pick(all)]
  }

  /** Whether no element is within a margin of what an op breaks at. */
  async far(value: number, distance: (x: number) => number): Promise<boolean> {
    return Array.from(await this.data(value)).every((x) => distance(x) > 1e-3)
  }

  /** Whether all elements differ, so that rounding does not change their order. */
  async distinct(value: number): Promise<boolean> {
    const sorted = Float64Array.from(await this.data(value)).sort()
    return sorted.every((x, i) => i === 0 || x - sorted[i - 1]! > 1e-4)
  }

  /** Adds a step of a random op that takes something of what is there. */
  async take(rules: Readonly<Record<string, Rule>>): Promise<void> {
    const names = Object.keys(rules)
    for (let tries = 0; tries < 40; tries++) {
      const name = this.pick(names)
      const before = { leaves: this.#leaves.length, steps: this.#made.length }
      try {
        const drawn = await rules[name]!(this)
        if (drawn) {
          const made = this.step(name, ...drawn)
          const values = Array.from(await this.data(made))
          const most = Math.max(...values.map(Math.abs))
          if (!Number.isFinite(most)) throw new Error('not finite')
          if (most > LARGE && this.at(made).dtype === 'float32') this.step('scale', [made], { by: Math.fround(2 / most) })
          return
        }
      } catch (error) {
        if (!(error instanceof Error) || !/^(too large|not finite)$/.test(error.message)) throw error
      }
      this.#leaves.length = before.leaves
      this.program.leaves.length = before.leaves
      this.#made.length = before.steps
      this.program.steps.length = before.steps
    }
  }

  /** Ends the program with a loss of its last values. */
  end(): Program {
    const count = this.#leaves.length
    const number = (value: number) => (value < 0 ? count - 1 - value : value)
    const { leaves, steps } = this.program
    const floats = this.#made.flatMap((t, k) => (t.dtype === 'float32' && t.requiresGrad ? [k] : []))
    const some = floats.filter((k) => k === floats.at(-1) || this.#random() < 0.4)
    return {
      leaves,
      steps: steps.map((step) => ({ ...step, inputs: step.inputs.map(number) })),
      cotangents: some.map((k) => [
        count + k,
        Array.from({ length: this.#made[k]!.size }, () => Math.fround(normal(this.#random))),
      ]),
    }
  }
}

/** Draws a program of some steps from a seed. @param rules by the names of the ops */
export async function drawProgram(seed: number, steps: number, rules: Readonly<Record<string, Rule>>): Promise<Program> {
  const draw = new Draw(seed)
  const shapes = [[3, 4], [2, 3, 4], [2, 4, 5, 5], [5], [], [1, 4], [4, 4]]
  for (let i = 0; i < 3; i++) draw.leaf(draw.pick(shapes))
  for (let i = 0; i < steps; i++) await draw.take(rules)
  return draw.end()
}
