import type { KernelEntry } from '../spec.ts'
import { crossEntropyBackwardCases, crossEntropyCases } from './cases.ts'
import { crossEntropy } from './crossEntropy.ts'
import { crossEntropyBackward } from './crossEntropyBackward.ts'
import { crossEntropyBackwardReference, crossEntropyReference } from './reference.ts'

export { crossEntropy, NAN_BITS } from './crossEntropy.ts'
export { crossEntropyBackward } from './crossEntropyBackward.ts'

export const entries: readonly KernelEntry[] = [
  { spec: crossEntropy, cases: crossEntropyCases, reference: crossEntropyReference },
  { spec: crossEntropyBackward, cases: crossEntropyBackwardCases, reference: crossEntropyBackwardReference },
]
