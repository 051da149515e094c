import type { KernelEntry } from '../spec.ts'
import { countedRowsCases, crossEntropyBackwardCases, crossEntropyCases } from './cases.ts'
import { countedRows, crossEntropy, crossEntropyBackward } from './crossEntropy.ts'
import { countedRowsReference, crossEntropyBackwardReference, crossEntropyReference } from './reference.ts'

export { countedRows, crossEntropy, crossEntropyBackward, NAN_BITS } from './crossEntropy.ts'

export const entries: readonly KernelEntry[] = [
  { spec: crossEntropy, cases: crossEntropyCases, reference: crossEntropyReference },
  { spec: crossEntropyBackward, cases: crossEntropyBackwardCases, reference: crossEntropyBackwardReference },
  { spec: countedRows, cases: countedRowsCases, reference: countedRowsReference },
]
