import { forEachElement } from '../layout.ts'
import type { Arrays } from '../spec.ts'
import type { Pairwise, PairwiseBackward, PairwiseNumber, PairwiseOp, PairwiseType } from './pairwise.ts'

/** The remainder with the sign of the divisor. */
function remainder(a: number, b: number): number {
  const rest = a % b
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest
}

/** The derivative of the smaller or larger one of two numbers by the first: 1/2 at a tie, 1 beside a NaN. */
function share(own: number, other: number, least: boolean): number {
  if (own === other) return 0.5
  return least ? (own > other ? 0 : 1) : own < other ? 0 : 1
}

interface PairFunction {
  f(a: number, b: number): number
  derivatives: readonly [da: (a: number, b: number) => number, db: (a: number, b: number) => number]
}

/** The functions of `pairwise` with their derivatives. */
export const pairwiseFunctions: Record<PairwiseOp, PairFunction> = {
  minimum: { f: Math.min, derivatives: [(a, b) => share(a, b, true), (a, b) => share(b, a, true)] },
  maximum: { f: Math.max, derivatives: [(a, b) => share(a, b, false), (a, b) => share(b, a, false)] },
  atan2: {
    f: Math.atan2,
    derivatives: [(a, b) => b / (a * a + b * b), (a, b) => -a / (a * a + b * b)],
  },
  remainder: {
    f: remainder,
    derivatives: [
      () => 1,
      (a, b) => (Math.abs(b) === Infinity ? quotientAtInfinity(a, b) : -Math.round((a - remainder(a, b)) / b)),
    ],
  },
}

/** -floor(a / b) for an infinite b. */
function quotientAtInfinity(a: number, b: number): number {
  return Number.isFinite(a) ? (a !== 0 && a < 0 !== b < 0 ? 1 : 0) : Number.NaN
}

/** A function on numbers of a type: int32 has a remainder by 0, which is 0. */
function functionOf(op: PairwiseOp, dtype: PairwiseType): (a: number, b: number) => number {
  const { f } = pairwiseFunctions[op]
  return dtype === 'i32' && op === 'remainder' ? (a, b) => (b === 0 ? 0 : f(a, b)) : f
}

export function pairwiseReference(problem: Pairwise, { a, b, out }: Arrays): Arrays {
  const f = functionOf(problem.op, problem.dtype)
  forEachElement(problem, (i, [atA, atB]) => {
    out![i] = f(a![atA!]!, b![atB!]!)
  })
  return { out: out! }
}

/** The number that bits of a float32 or int32 are. */
export function numberOf(word: number, dtype: PairwiseType): number {
  const { buffer } = Uint32Array.of(word)
  return (dtype === 'i32' ? new Int32Array(buffer) : new Float32Array(buffer))[0]!
}

export function pairwiseNumberReference({ op, dtype, number, swapped }: PairwiseNumber, { x }: Arrays): Arrays {
  const f = functionOf(op, dtype)
  const s = numberOf(number, dtype)
  return { out: x!.map((value) => (swapped ? f(s, value) : f(value, s))) }
}

export function pairwiseBackwardReference(problem: PairwiseBackward, { grad, a, b, out }: Arrays): Arrays {
  const derivative = pairwiseFunctions[problem.op].derivatives[problem.other ? 1 : 0]
  forEachElement(problem, (i, [atGrad, atA, atB]) => {
    const slope = derivative(a![atA!]!, b![atB!]!)
    const cut = slope === 0 && (problem.op === 'minimum' || problem.op === 'maximum')
    out![i] = cut ? 0 : grad![atGrad!]! * slope
  })
  return { out: out! }
}
