import type { KernelEntry } from '../spec.ts'
import { muonMomentumCases, muonUpdateCases } from './cases.ts'
import { muonMomentum, muonUpdate } from './muon.ts'
import { muonMomentumReference, muonUpdateReference } from './reference.ts'

export * from './muon.ts'

export const entries: KernelEntry[] = [
  { spec: muonMomentum, cases: muonMomentumCases, reference: muonMomentumReference },
  { spec: muonUpdate, cases: muonUpdateCases, reference: muonUpdateReference },
]
