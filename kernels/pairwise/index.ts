import type { KernelEntry } from '../spec.ts'
import * as cases from './cases.ts'
import { pairwise, pairwiseBackward, pairwiseNumber } from './pairwise.ts'
import * as reference from './reference.ts'

export * from './pairwise.ts'

export const entries: readonly KernelEntry[] = [
  { spec: pairwise, cases: cases.pairwiseCases, reference: reference.pairwiseReference },
  { spec: pairwiseNumber, cases: cases.pairwiseNumberCases, reference: reference.pairwiseNumberReference },
  { spec: pairwiseBackward, cases: cases.pairwiseBackwardCases, reference: reference.pairwiseBackwardReference },
]
