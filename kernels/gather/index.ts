import type { KernelEntry } from '../spec.ts'
import { gatherCases, scatterAddCases, scatterAddSortedCases, sortIndicesCases } from './cases.ts'
import { gather } from './gather.ts'
import { gatherReference, scatterAddReference, sortIndicesReference } from './reference.ts'
import { scatterAdd, scatterAddSorted, sortIndices } from './scatterAdd.ts'

export * from './gather.ts'
export * from './scatterAdd.ts'

/** Every kernel of this folder with what proves it. */
export const entries: KernelEntry[] = [
  { spec: gather, cases: gatherCases, reference: gatherReference },
  { spec: scatterAdd, cases: scatterAddCases, reference: scatterAddReference },
  { spec: sortIndices, cases: sortIndicesCases, reference: sortIndicesReference },
  { spec: scatterAddSorted, cases: scatterAddSortedCases, reference: scatterAddReference },
]
