import type { KernelEntry } from '../spec.ts'
import { lossBackwardCases, lossCases } from './cases.ts'
import { loss, lossBackward } from './losses.ts'
import { lossBackwardReference, lossReference } from './reference.ts'

export { type LossKind, loss, lossBackward } from './losses.ts'

export const entries: readonly KernelEntry[] = [
  { spec: loss, cases: lossCases, reference: lossReference },
  { spec: lossBackward, cases: lossBackwardCases, reference: lossBackwardReference },
]
