import type { KernelEntry } from '../spec.ts'
import { trigonometricBackwardCases, trigonometricCases } from './cases.ts'
import { trigonometricBackwardReference, trigonometricReference } from './reference.ts'
import { trigonometric, trigonometricBackward } from './trigonometric.ts'

export * from './trigonometric.ts'

export const entries: readonly KernelEntry[] = [
  { spec: trigonometric, cases: trigonometricCases, reference: trigonometricReference },
  { spec: trigonometricBackward, cases: trigonometricBackwardCases, reference: trigonometricBackwardReference },
]
