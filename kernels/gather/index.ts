import type { KernelEntry } from '../spec.ts'
import * as cases from './cases.ts'
import { gather } from './gather.ts'
import * as reference from './reference.ts'
import { rowStarts } from './rowStarts.ts'
import { scatterAdd, scatterAddSorted } from './scatterAdd.ts'

export * from './gather.ts'
export * from './rowStarts.ts'
export * from './scatterAdd.ts'

export const entries: KernelEntry[] = [
  { spec: gather, cases: cases.gatherCases, reference: reference.gatherReference },
  { spec: scatterAdd, cases: cases.scatterAddCases, reference: reference.scatterAddReference },
  { spec: rowStarts, cases: cases.rowStartsCases, reference: reference.rowStartsReference },
  { spec: scatterAddSorted, cases: cases.scatterAddSortedCases, reference: reference.scatterAddSortedReference },
]
