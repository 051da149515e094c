import type { KernelEntry } from '../spec.ts'
import { foldBackwardCases, foldCases, foldCombineCases } from './cases.ts'
import { fold, foldBackward, foldCombine } from './fold.ts'
import { foldBackwardReference, foldCombineReference, foldReference } from './reference.ts'

export * from './fold.ts'

export const entries: readonly KernelEntry[] = [
  { spec: fold, cases: foldCases, reference: foldReference },
  { spec: foldCombine, cases: foldCombineCases, reference: foldCombineReference },
  { spec: foldBackward, cases: foldBackwardCases, reference: foldBackwardReference },
]
