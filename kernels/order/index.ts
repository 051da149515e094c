import type { KernelEntry } from '../spec.ts'
import { mergeRunsCases, selectTopCases, sortRunsCases } from './cases.ts'
import { mergeRuns, selectTop, sortRuns } from './order.ts'
import { mergeRunsReference, selectTopReference, sortRunsReference } from './reference.ts'

export * from './order.ts'

export const entries: readonly KernelEntry[] = [
  { spec: sortRuns, cases: sortRunsCases, reference: sortRunsReference },
  { spec: mergeRuns, cases: mergeRunsCases, reference: mergeRunsReference },
  { spec: selectTop, cases: selectTopCases, reference: selectTopReference },
]
