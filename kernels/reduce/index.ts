import type { KernelEntry } from '../spec.ts'
import {
  maxBackwardCases,
  maxCases,
  maxCombineCases,
  maxCombineIntCases,
  maxIntCases,
  sumCases,
  sumHalfCases,
  sumIntCases,
} from './cases.ts'
import { max, maxBackward, maxCombine, maxCombineInt, maxInt } from './max.ts'
import { maxBackwardReference, maxCombineReference, maxReference, sumIntReference, sumReference } from './reference.ts'
import { sum, sumHalf, sumInt } from './sum.ts'

export * from './max.ts'
export * from './reduction.ts'
export * from './sum.ts'

/** Every kernel of this folder with what proves it. */
export const entries: KernelEntry[] = [
  { spec: sum, cases: sumCases, reference: sumReference },
  { spec: sumHalf, cases: sumHalfCases, reference: sumReference },
  { spec: sumInt, cases: sumIntCases, reference: sumIntReference },
  { spec: max, cases: maxCases, reference: maxReference },
  { spec: maxInt, cases: maxIntCases, reference: maxReference },
  { spec: maxCombine, cases: maxCombineCases, reference: maxCombineReference },
  { spec: maxCombineInt, cases: maxCombineIntCases, reference: maxCombineReference },
  { spec: maxBackward, cases: maxBackwardCases, reference: maxBackwardReference },
]
