import { type Elements, type FunctionOf, functionReferences } from '../functions.ts'
import type { Arrays } from '../spec.ts'
import type { AlgebraicOp } from './algebraic.ts'
import type { Clamp } from './clamp.ts'

/** The nearest whole number, of two the even one. */
function roundEven(x: number): number {
  const floor = Math.floor(x)
  if (!Number.isFinite(x) || floor === x) return x
  const up = x - floor > 0.5 || (x - floor === 0.5 && floor % 2 !== 0)
  return up ? Math.sign(x) * Math.abs(floor + 1) : Math.sign(x) * Math.abs(floor)
}

const sign = (x: number) => (x === 0 ? 0 : Math.sign(x))

export const algebraicFunctions: Record<AlgebraicOp, FunctionOf> = {
  abs: { f: Math.abs, derivative: sign },
  sign: { f: sign },
  floor: { f: Math.floor },
  ceil: { f: Math.ceil },
  round: { f: roundEven },
  trunc: { f: Math.trunc },
  square: { f: (x) => x * x, derivative: (x) => 2 * x },
  reciprocal: { f: (x) => 1 / x, derivative: (y) => -y * y },
  rsqrt: { f: (x) => 1 / Math.sqrt(x), derivative: (y) => -0.5 * y * y * y },
}

export const { forward: algebraicReference, backward: algebraicBackwardReference } =
  functionReferences<Elements<any>>(algebraicFunctions)

/** The numbers of the limits from their bits. */
function limitsOf({ low, high, dtype }: Clamp): [number, number] {
  const words = Uint32Array.of(low, high)
  return [...(dtype === 'i32' ? new Int32Array(words.buffer) : new Float32Array(words.buffer))] as [number, number]
}

export function clampReference(problem: Clamp, { x }: Arrays): Arrays {
  const [low, high] = limitsOf(problem)
  return { y: x!.map((value) => Math.min(Math.max(value, low), high)) }
}

export function clampBackwardReference(problem: Clamp, { grad, x }: Arrays): Arrays {
  const [low, high] = limitsOf(problem)
  return { out: grad!.map((g, i) => (x![i]! >= low && x![i]! <= high ? g : 0)) }
}
