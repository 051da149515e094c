import type { KernelEntry } from '../spec.ts'
import { softmaxBackwardCases, softmaxCases } from './cases.ts'
import { softmaxBackwardReference, softmaxReference } from './reference.ts'
import { softmax, softmaxBackward } from './softmax.ts'

export { type SoftmaxProblem, softmax, softmaxBackward } from './softmax.ts'

export const entries: readonly KernelEntry[] = [
  { spec: softmax, cases: softmaxCases, reference: softmaxReference },
  { spec: softmaxBackward, cases: softmaxBackwardCases, reference: softmaxBackwardReference },
]
