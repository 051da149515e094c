import type { KernelEntry } from '../spec.ts'
import { activation, activationBackward } from './activation.ts'
import { activationBackwardCases, activationCases } from './cases.ts'
import { activationBackwardReference, activationReference } from './reference.ts'

export * from './activation.ts'

export const entries: readonly KernelEntry[] = [
  { spec: activation, cases: activationCases, reference: activationReference },
  { spec: activationBackward, cases: activationBackwardCases, reference: activationBackwardReference },
]
