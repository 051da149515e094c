import type { KernelEntry } from '../spec.ts'
import { augment } from './augment.ts'
import { augmentCases } from './cases.ts'
import { augmentReference } from './reference.ts'

export * from './augment.ts'

export const entries: KernelEntry[] = [{ spec: augment, cases: augmentCases, reference: augmentReference }]
