import type { KernelEntry } from '../spec.ts'
import { dropoutCases, randomCases } from './cases.ts'
import { dropout, random } from './random.ts'
import { dropoutReference, randomReference } from './reference.ts'

export * from './random.ts'

export const entries: KernelEntry[] = [
  { spec: random, cases: randomCases, reference: randomReference },
  { spec: dropout, cases: dropoutCases, reference: dropoutReference },
]
