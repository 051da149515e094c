import type { KernelEntry } from '../spec.ts'
import { attention } from './attention.ts'
import { attentionCases, keyValueGradientCases, queryGradientCases } from './cases.ts'
import { keyValueGradient } from './keyValueGradient.ts'
import { queryGradient } from './queryGradient.ts'
import { attentionReference, keyValueGradientReference, queryGradientReference } from './reference.ts'

export { type AttentionProblem, attention } from './attention.ts'
export { type KeyValueGradientProblem, keyValueGradient } from './keyValueGradient.ts'
export { type QueryGradientProblem, queryGradient } from './queryGradient.ts'
export type { AttentionShape, RowView } from './variants.ts'

export const entries: readonly KernelEntry[] = [
  { spec: attention, cases: attentionCases, reference: attentionReference },
  { spec: queryGradient, cases: queryGradientCases, reference: queryGradientReference },
  { spec: keyValueGradient, cases: keyValueGradientCases, reference: keyValueGradientReference },
]
