import type { KernelEntry } from '../spec.ts'
import { attention, keyValueGradient, queryGradient } from './attention.ts'
import { attentionCases, gradientsCases, keyValueGradientCases, queryGradientCases } from './cases.ts'
import { attentionGradients } from './gradients.ts'
import { attentionReference, gradientsReference, keyValueGradientReference, queryGradientReference } from './reference.ts'

export * from './attention.ts'
export * from './gradients.ts'
export type { AttentionShape, RowView } from './shape.ts'

export const entries: readonly KernelEntry[] = [
  { spec: attention, cases: attentionCases, reference: attentionReference },
  { spec: queryGradient, cases: queryGradientCases, reference: queryGradientReference },
  { spec: keyValueGradient, cases: keyValueGradientCases, reference: keyValueGradientReference },
  { spec: attentionGradients, cases: gradientsCases, reference: gradientsReference },
]
