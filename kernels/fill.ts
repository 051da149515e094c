import type { KernelCase, KernelSpec, Scalar } from './spec.ts'

/** Poison of outputs and of what lies behind them: a NaN with a payload, or its bits as an integer. */
export const POISON = 0x7fc0dead

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

/** Standard normal numbers from a uniform generator (Box-Muller). */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** Memory seen as elements of a type. */
export function viewOf(dtype: Scalar, buffer: ArrayBuffer) {
  return dtype === 'f32' ? new Float32Array(buffer) : dtype === 'i32' ? new Int32Array(buffer) : new Uint32Array(buffer)
}

/**
 * Memory for every binding of a case, by name: inputs hold numbers, outputs and `guard` elements behind every binding hold
 * poison. The same case always gets the same numbers.
 */
export function fillCase(spec: KernelSpec, kase: KernelCase, guard = 0): Map<string, ArrayBuffer> {
  const random = seededRandom(1)
  const memory = new Map<string, ArrayBuffer>()
  for (const { name, access, dtype } of spec.bindings) {
    const size = kase.sizes[name]
    if (size === undefined) throw new Error(`case ${kase.name} gives no size of ${name}`)
    const buffer = new ArrayBuffer((size + guard) * 4)
    new Uint32Array(buffer).fill(POISON)
    const fill = kase.fills?.[name] ?? (access === 'read' ? 'normal' : undefined)
    if (fill) {
      const view = viewOf(dtype, buffer)
      for (let i = 0; i < size; i++)
        view[i] = fill === 'normal' ? normal(random) : fill === 'uniform' ? random() : fill(i, random)
    }
    memory.set(name, buffer)
  }
  return memory
}
