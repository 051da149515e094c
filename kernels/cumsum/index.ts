import type { KernelEntry } from '../spec.ts'
import { cumsumCases, cumsumIntCases } from './cases.ts'
import { cumsum, cumsumInt } from './cumsum.ts'
import { cumsumReference } from './reference.ts'

export { cumsum, cumsumChunk, cumsumInt } from './cumsum.ts'

export const entries: readonly KernelEntry[] = [
  { spec: cumsum, cases: cumsumCases, reference: cumsumReference },
  { spec: cumsumInt, cases: cumsumIntCases, reference: cumsumReference },
]
