import type { KernelEntry } from '../spec.ts'
import {
  gatherCases,
  mergeOrderCases,
  rowStartsCases,
  scatterAddCases,
  scatterAddSortedCases,
  sortBlocksCases,
} from './cases.ts'
import { gather } from './gather.ts'
import {
  gatherReference,
  mergeOrderReference,
  rowStartsReference,
  scatterAddReference,
  scatterAddSortedReference,
  sortBlocksReference,
} from './reference.ts'
import { scatterAdd, scatterAddSorted } from './scatterAdd.ts'
import { mergeOrder, rowStarts, sortBlocks } from './sort.ts'

export * from './gather.ts'
export * from './scatterAdd.ts'
export * from './sort.ts'

/** Every kernel of this folder with what proves it. */
export const entries: KernelEntry[] = [
  { spec: gather, cases: gatherCases, reference: gatherReference },
  { spec: scatterAdd, cases: scatterAddCases, reference: scatterAddReference },
  { spec: sortBlocks, cases: sortBlocksCases, reference: sortBlocksReference },
  { spec: mergeOrder, cases: mergeOrderCases, reference: mergeOrderReference },
  { spec: rowStarts, cases: rowStartsCases, reference: rowStartsReference },
  { spec: scatterAddSorted, cases: scatterAddSortedCases, reference: scatterAddSortedReference },
]
