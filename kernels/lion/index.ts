import type { KernelEntry } from '../spec.ts'
import { lionCases } from './cases.ts'
import { lion } from './lion.ts'
import { lionReference } from './reference.ts'

export * from './lion.ts'

export const entries: KernelEntry[] = [{ spec: lion, cases: lionCases, reference: lionReference }]
