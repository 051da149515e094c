import type { KernelEntry } from '../spec.ts'
import * as cases from './cases.ts'
import * as kernels from './planeNorm.ts'
import * as references from './reference.ts'

export * from './planeNorm.ts'

export const entries: readonly KernelEntry[] = [
  { spec: kernels.planeMoments, cases: cases.planeMomentsCases, reference: references.planeMomentsReference },
  { spec: kernels.rowStatistics, cases: cases.rowStatisticsCases, reference: references.rowStatisticsReference },
  { spec: kernels.runningStatistics, cases: cases.runningStatisticsCases, reference: references.runningStatisticsReference },
  { spec: kernels.planeNormalize, cases: cases.planeNormalizeCases, reference: references.planeNormalizeReference },
  { spec: kernels.planeGradientSums, cases: cases.planeGradientSumsCases, reference: references.planeGradientSumsReference },
  { spec: kernels.rowGradientMeans, cases: cases.rowGradientMeansCases, reference: references.rowGradientMeansReference },
  { spec: kernels.planeInputGradient, cases: cases.planeInputGradientCases, reference: references.planeInputGradientReference },
]
