import type { KernelEntry } from '../spec.ts'
import { softmaxBackwardCases, softmaxCases } from './cases.ts'
import { softmaxBackwardReference, softmaxReference } from './reference.ts'
import { softmax } from './softmax.ts'
import { softmaxBackward } from './softmaxBackward.ts'

export { type SoftmaxProblem, softmax } from './softmax.ts'
export { softmaxBackward } from './softmaxBackward.ts'

export const entries: readonly KernelEntry[] = [
  { spec: softmax, cases: softmaxCases, reference: softmaxReference },
  { spec: softmaxBackward, cases: softmaxBackwardCases, reference: softmaxBackwardReference },
]
