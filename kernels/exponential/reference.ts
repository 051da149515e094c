import { erfc } from '../elementwise/reference.ts'
import { type Elements, type FunctionOf, functionReferences } from '../functions.ts'
import type { ExponentialOp } from './exponential.ts'

/** The error function in float64. Near 0 it is its series. */
function erf(x: number): number {
  if (Math.abs(x) > 0.1) return 1 - erfc(x)
  const s = x * x
  return (2 / Math.sqrt(Math.PI)) * x * (1 - s / 3 + (s * s) / 10 - s ** 3 / 42 + s ** 4 / 216)
}

export const exponentialFunctions: Record<ExponentialOp, FunctionOf> = {
  exp2: { f: (x) => 2 ** x, derivative: (y) => y * Math.LN2 },
  log2: { f: Math.log2, derivative: (x) => 1 / (x * Math.LN2) },
  log1p: { f: Math.log1p, derivative: (x) => 1 / (1 + x) },
  expm1: { f: Math.expm1, derivative: (y) => y + 1 },
  erf: { f: erf, derivative: (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) },
}

export const { forward: exponentialReference, backward: exponentialBackwardReference } =
  functionReferences<Elements<ExponentialOp>>(exponentialFunctions)
