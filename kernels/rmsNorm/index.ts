import type { KernelEntry } from '../spec.ts'
import { rmsNormBackwardCases, rmsNormCases } from './cases.ts'
import { rmsNormBackwardReference, rmsNormReference } from './reference.ts'
import { rmsNorm, rmsNormBackward } from './rmsNorm.ts'

export { rmsNorm, rmsNormBackward } from './rmsNorm.ts'

export const entries: readonly KernelEntry[] = [
  { spec: rmsNorm, cases: rmsNormCases, reference: rmsNormReference },
  { spec: rmsNormBackward, cases: rmsNormBackwardCases, reference: rmsNormBackwardReference },
]
