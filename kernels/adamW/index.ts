import type { KernelEntry } from '../spec.ts'
import { adamW, gradNorm, stepSetup } from './adamW.ts'
import { adamWCases, gradNormCases, setupCases } from './cases.ts'
import { adamWReference, gradNormReference, setupReference } from './reference.ts'

export * from './adamW.ts'

export const entries: KernelEntry[] = [
  { spec: adamW, cases: adamWCases, reference: adamWReference },
  { spec: gradNorm, cases: gradNormCases, reference: gradNormReference },
  { spec: stepSetup, cases: setupCases, reference: setupReference },
]
