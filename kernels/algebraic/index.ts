import type { KernelEntry } from '../spec.ts'
import { algebraic, algebraicBackward } from './algebraic.ts'
import * as cases from './cases.ts'
import { clamp, clampBackward } from './clamp.ts'
import * as reference from './reference.ts'

export * from './algebraic.ts'
export * from './clamp.ts'

export const entries: readonly KernelEntry[] = [
  { spec: algebraic, cases: cases.algebraicCases, reference: reference.algebraicReference },
  { spec: algebraicBackward, cases: cases.algebraicBackwardCases, reference: reference.algebraicBackwardReference },
  { spec: clamp, cases: cases.clampCases, reference: reference.clampReference },
  { spec: clampBackward, cases: cases.clampBackwardCases, reference: reference.clampBackwardReference },
]
