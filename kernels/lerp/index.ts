import type { KernelEntry } from '../spec.ts'
import { lerpCases } from './cases.ts'
import { lerp } from './lerp.ts'
import { lerpReference } from './reference.ts'

export * from './lerp.ts'

export const entries: readonly KernelEntry[] = [{ spec: lerp, cases: lerpCases, reference: lerpReference }]
