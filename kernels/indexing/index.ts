import type { KernelEntry } from '../spec.ts'
import { gatherAlong, scatterPick, scatterSource, scatterUnique, scatterWinners } from './along.ts'
import * as cases from './cases.ts'
import { oneHot, triangle } from './places.ts'
import * as reference from './reference.ts'
import { scatterAddInt, scatterLargest, scatterSum, scatterTotal } from './sums.ts'

export * from './along.ts'
export * from './places.ts'
export * from './sums.ts'

export const entries: readonly KernelEntry[] = [
  { spec: gatherAlong, cases: cases.gatherAlongCases, reference: reference.gatherAlongReference },
  { spec: scatterWinners, cases: cases.scatterWinnersCases, reference: reference.scatterWinnersReference },
  { spec: scatterPick, cases: cases.scatterPickCases, reference: reference.scatterPickReference },
  { spec: scatterSource, cases: cases.scatterSourceCases, reference: reference.scatterSourceReference },
  { spec: scatterLargest, cases: cases.scatterLargestCases, reference: reference.scatterLargestReference },
  { spec: scatterSum, cases: cases.scatterSumCases, reference: reference.scatterSumReference },
  { spec: scatterTotal, cases: cases.scatterTotalCases, reference: reference.scatterTotalReference },
  { spec: scatterAddInt, cases: cases.scatterAddIntCases, reference: reference.scatterAddIntReference },
  { spec: scatterUnique, cases: cases.scatterUniqueCases, reference: reference.scatterUniqueReference },
  { spec: triangle, cases: cases.triangleCases, reference: reference.triangleReference },
  { spec: oneHot, cases: cases.oneHotCases, reference: reference.oneHotReference },
]
