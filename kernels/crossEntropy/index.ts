import type { KernelEntry } from '../spec.ts'
import { crossEntropyBackwardCases, crossEntropyCases } from './cases.ts'
import { crossEntropy, crossEntropyBackward } from './crossEntropy.ts'
import { crossEntropyBackwardReference, crossEntropyReference } from './reference.ts'

export { crossEntropy, crossEntropyBackward, NAN_BITS } from './crossEntropy.ts'

export const entries: readonly KernelEntry[] = [
  { spec: crossEntropy, cases: crossEntropyCases, reference: crossEntropyReference },
  { spec: crossEntropyBackward, cases: crossEntropyBackwardCases, reference: crossEntropyBackwardReference },
]
