import type { KernelEntry } from '../spec.ts'
import { cummaxCases, cumprodBackwardCases, cumprodCases } from './cases.ts'
import { cummaxReference, cumprodBackwardReference, cumprodReference } from './reference.ts'
import { cummax, cumprod, cumprodBackward } from './scan.ts'

export * from './scan.ts'

export const entries: readonly KernelEntry[] = [
  { spec: cumprod, cases: cumprodCases, reference: cumprodReference },
  { spec: cumprodBackward, cases: cumprodBackwardCases, reference: cumprodBackwardReference },
  { spec: cummax, cases: cummaxCases, reference: cummaxReference },
]
