import type { KernelEntry } from '../spec.ts'
import { exponentialBackwardCases, exponentialCases } from './cases.ts'
import { exponential, exponentialBackward } from './exponential.ts'
import { exponentialBackwardReference, exponentialReference } from './reference.ts'

export * from './exponential.ts'

export const entries: readonly KernelEntry[] = [
  { spec: exponential, cases: exponentialCases, reference: exponentialReference },
  { spec: exponentialBackward, cases: exponentialBackwardCases, reference: exponentialBackwardReference },
]
