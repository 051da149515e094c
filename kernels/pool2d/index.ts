import type { KernelEntry } from '../spec.ts'
import {
  averagePool2dBackwardCases,
  averagePool2dCases,
  maxPool2dBackwardCases,
  maxPool2dCases,
  poolGatherCases,
} from './cases.ts'
import { averagePool2d, averagePool2dBackward, maxPool2d, maxPool2dBackward, poolGather } from './pool2d.ts'
import {
  averagePool2dBackwardReference,
  averagePool2dReference,
  maxPool2dBackwardReference,
  maxPool2dReference,
  poolGatherReference,
} from './reference.ts'

export * from './pool2d.ts'

export const entries: readonly KernelEntry[] = [
  { spec: maxPool2d, cases: maxPool2dCases, reference: maxPool2dReference },
  { spec: maxPool2dBackward, cases: maxPool2dBackwardCases, reference: maxPool2dBackwardReference },
  { spec: poolGather, cases: poolGatherCases, reference: poolGatherReference },
  { spec: averagePool2d, cases: averagePool2dCases, reference: averagePool2dReference },
  { spec: averagePool2dBackward, cases: averagePool2dBackwardCases, reference: averagePool2dBackwardReference },
]
