import type { KernelEntry } from '../spec.ts'
import { sgdCases } from './cases.ts'
import { sgdReference } from './reference.ts'
import { sgd } from './sgd.ts'

export * from './sgd.ts'

export const entries: KernelEntry[] = [{ spec: sgd, cases: sgdCases, reference: sgdReference }]
