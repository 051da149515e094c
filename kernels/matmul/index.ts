import type { KernelEntry } from '../spec.ts'
import { combineCases, matmulCases } from './cases.ts'
import { matmul, matmulCombine } from './matmul.ts'
import { combineReference, matmulReference } from './reference.ts'

export { matmul, matmulCombine, rowsPerGroup, splitK } from './matmul.ts'
export { type BatchView, EPILOGUE, type Matmul } from './problem.ts'

export const entries: readonly KernelEntry[] = [
  { spec: matmul, cases: matmulCases, reference: matmulReference },
  { spec: matmulCombine, cases: combineCases, reference: combineReference },
]
