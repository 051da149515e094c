import { type Elements, type FunctionOf, functionReferences } from '../functions.ts'
import type { TrigonometricOp } from './trigonometric.ts'

export const trigonometricFunctions: Record<TrigonometricOp, FunctionOf> = {
  sin: { f: Math.sin, derivative: Math.cos },
  cos: { f: Math.cos, derivative: (x) => -Math.sin(x) },
}

export const { forward: trigonometricReference, backward: trigonometricBackwardReference } =
  functionReferences<Elements<TrigonometricOp>>(trigonometricFunctions)
