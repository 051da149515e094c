import type { KernelEntry } from '../spec.ts'
import * as cases from './cases.ts'
import { max, maxBackward, maxCombine, maxCombineInt, maxInt, min, minCombine, minCombineInt, minInt } from './max.ts'
import * as reference from './reference.ts'
import { sum, sumHalf, sumInt } from './sum.ts'

export * from './max.ts'
export * from './reduction.ts'
export * from './sum.ts'

export const entries: KernelEntry[] = [
  { spec: sum, cases: cases.sumCases, reference: reference.sumReference },
  { spec: sumHalf, cases: cases.sumHalfCases, reference: reference.sumReference },
  { spec: sumInt, cases: cases.sumIntCases, reference: reference.sumIntReference },
  { spec: max, cases: cases.maxCases, reference: reference.maxReference },
  { spec: maxInt, cases: cases.maxIntCases, reference: reference.maxReference },
  { spec: maxCombine, cases: cases.maxCombineCases, reference: reference.maxCombineReference },
  { spec: maxCombineInt, cases: cases.maxCombineIntCases, reference: reference.maxCombineReference },
  { spec: min, cases: cases.minCases, reference: reference.minReference },
  { spec: minInt, cases: cases.minIntCases, reference: reference.minReference },
  { spec: minCombine, cases: cases.maxCombineCases, reference: reference.minCombineReference },
  { spec: minCombineInt, cases: cases.maxCombineIntCases, reference: reference.minCombineReference },
  { spec: maxBackward, cases: cases.maxBackwardCases, reference: reference.maxBackwardReference },
]
