import type { KernelEntry } from '../spec.ts'
import { compareCases, compareNumberCases } from './cases.ts'
import { compare, compareNumber } from './compare.ts'
import { compareNumberReference, compareReference } from './reference.ts'

export * from './compare.ts'

export const entries: readonly KernelEntry[] = [
  { spec: compare, cases: compareCases, reference: compareReference },
  { spec: compareNumber, cases: compareNumberCases, reference: compareNumberReference },
]
