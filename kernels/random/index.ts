import type { KernelEntry } from '../spec.ts'
import * as cases from './cases.ts'
import * as kernels from './random.ts'
import * as references from './reference.ts'

export * from './random.ts'

export const entries: KernelEntry[] = [
  { spec: kernels.random, cases: cases.randomCases, reference: references.randomReference },
  { spec: kernels.dropout, cases: cases.dropoutCases, reference: references.dropoutReference },
  { spec: kernels.randomWords, cases: cases.randomWordsCases, reference: references.randomWordsReference },
  { spec: kernels.bernoulli, cases: cases.bernoulliCases, reference: references.bernoulliReference },
  { spec: kernels.multinomial, cases: cases.multinomialCases, reference: references.multinomialReference },
  {
    spec: kernels.multinomialDistinct,
    cases: cases.multinomialDistinctCases,
    reference: references.multinomialDistinctReference,
  },
]
