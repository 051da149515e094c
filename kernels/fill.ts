import { fromHalves, toHalf } from './half.ts'
import { bindingDtype, type KernelCase, type KernelSpec, SCALAR_BYTES, type Scalar } from './spec.ts'

/** The poison of outputs and of guards: a NaN with a payload, or its bits as an integer. */
const POISON = 0x7fc0dead
const HALF_POISON = 0x7ead

/** Parses lines of shapes of cases, such as '7x1 31x7'. */
export function shapesOf<S extends readonly (number | undefined)[]>(...lines: string[]): S[] {
  return lines.flatMap((line) => line.split(' ').map((shape) => shape.split('x').map(Number) as unknown as S))
}

/** A small seeded generator (mulberry32) for the inputs of cases. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000
  }
}

/** A standard normal number from a uniform generator, by Box-Muller. */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** The norm-relative error that a case allows a binding. Integers are compared exactly. Rounding to float16 alone makes about 2e-4. */
export function toleranceOf({ tolerance }: KernelCase, dtype: Scalar): number {
  if (dtype === 'i32' || dtype === 'u32') return 0
  return tolerance ?? (dtype === 'f16' ? 1e-3 : 1e-5)
}

/** Views memory as elements of a type; those of float16 are their bits. */
function elementsOf(dtype: Scalar, buffer: ArrayBuffer) {
  if (dtype === 'f16') return new Uint16Array(buffer)
  return dtype === 'f32' ? new Float32Array(buffer) : dtype === 'i32' ? new Int32Array(buffer) : new Uint32Array(buffer)
}

/** The values of the first `size` elements of a type. */
export function valuesOf(dtype: Scalar, buffer: ArrayBuffer, size: number): Float32Array | Int32Array | Uint32Array {
  const elements = elementsOf(dtype, buffer).subarray(0, size)
  return elements instanceof Uint16Array ? fromHalves(elements) : elements
}

/** The bytes of `size` elements, rounded up to the whole words that buffers are made of. */
export function bytesOf(dtype: Scalar, size: number): number {
  return 4 * Math.ceil((size * SCALAR_BYTES[dtype]) / 4)
}

/** The index of the first element from `size` on that no longer holds the poison, or -1. */
export function findTouched(dtype: Scalar, buffer: ArrayBuffer, size: number): number {
  const elements = dtype === 'f16' ? new Uint16Array(buffer) : new Uint32Array(buffer)
  const poison = dtype === 'f16' ? HALF_POISON : POISON
  const at = elements.subarray(size).findIndex((word) => word !== poison)
  return at < 0 ? -1 : size + at
}

/**
 * Memory for every binding of a case, by name. Inputs hold numbers; outputs, and `guard` elements behind every binding, hold poison. The
 * same case and seed always give the same numbers.
 */
export function fillCase(spec: KernelSpec, kase: KernelCase, guard = 0, seed = 1): Map<string, ArrayBuffer> {
  const random = seededRandom(seed)
  const memory = new Map<string, ArrayBuffer>()
  for (const binding of spec.bindings) {
    const { name, access } = binding
    const size = kase.sizes[name]
    if (size === undefined) throw new Error(`case ${kase.name} gives no size of ${name}`)
    const dtype = bindingDtype(binding, kase.problem)
    const buffer = new ArrayBuffer(bytesOf(dtype, size + guard))
    if (dtype === 'f16') new Uint16Array(buffer).fill(HALF_POISON)
    else new Uint32Array(buffer).fill(POISON)
    const fill = kase.fills?.[name] ?? (access === 'read' ? 'normal' : undefined)
    if (fill) {
      const elements = elementsOf(dtype, buffer)
      for (let i = 0; i < size; i++) {
        const value = fill === 'normal' ? normal(random) : fill === 'uniform' ? random() : fill(i, random)
        elements[i] = dtype === 'f16' ? toHalf(value) : value
      }
    }
    memory.set(name, buffer)
  }
  return memory
}
