import type { KernelEntry } from '../spec.ts'
import { adamW } from './adamW.ts'
import { adamWCases, gradNormCases, setupCases } from './cases.ts'
import { gradNorm } from './gradNorm.ts'
import { adamWReference, gradNormReference, setupReference } from './reference.ts'
import { stepSetup } from './setup.ts'

export * from './adamW.ts'
export * from './gradNorm.ts'
export * from './setup.ts'

/** Every kernel of this folder with what proves it. */
export const entries: KernelEntry[] = [
  { spec: adamW, cases: adamWCases, reference: adamWReference },
  { spec: gradNorm, cases: gradNormCases, reference: gradNormReference },
  { spec: stepSetup, cases: setupCases, reference: setupReference },
]
