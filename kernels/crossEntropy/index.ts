import type { KernelEntry } from '../spec.ts'
import { countedRowsCases, crossEntropyBackwardCases, crossEntropyCases, crossEntropyGradientCases } from './cases.ts'
import { countedRows, crossEntropy, crossEntropyBackward, crossEntropyGradient } from './crossEntropy.ts'
import {
  countedRowsReference,
  crossEntropyBackwardReference,
  crossEntropyGradientReference,
  crossEntropyReference,
} from './reference.ts'

export { countedRows, crossEntropy, crossEntropyBackward, crossEntropyGradient, NAN_BITS } from './crossEntropy.ts'

export const entries: readonly KernelEntry[] = [
  { spec: crossEntropy, cases: crossEntropyCases, reference: crossEntropyReference },
  { spec: crossEntropyBackward, cases: crossEntropyBackwardCases, reference: crossEntropyBackwardReference },
  { spec: crossEntropyGradient, cases: crossEntropyGradientCases, reference: crossEntropyGradientReference },
  { spec: countedRows, cases: countedRowsCases, reference: countedRowsReference },
]
