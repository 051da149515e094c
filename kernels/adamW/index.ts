import type { KernelEntry } from '../spec.ts'
import { adamW } from './adamW.ts'
import { adamWCases, gradNormCases, normFinalCases } from './cases.ts'
import { gradNorm, normFinal } from './gradNorm.ts'
import { adamWReference, gradNormReference, normFinalReference } from './reference.ts'

export * from './adamW.ts'
export * from './gradNorm.ts'

/** Every kernel of this folder with what proves it. */
export const entries: KernelEntry[] = [
  { spec: adamW, cases: adamWCases, reference: adamWReference },
  { spec: gradNorm, cases: gradNormCases, reference: gradNormReference },
  { spec: normFinal, cases: normFinalCases, reference: normFinalReference },
]
