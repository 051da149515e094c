import type { KernelEntry } from '../spec.ts'
import { embedSequenceBackwardCases, embedSequenceCases } from './cases.ts'
import { embedSequence, embedSequenceBackward } from './embedSequence.ts'
import { embedSequenceBackwardReference, embedSequenceReference } from './reference.ts'

export { embedSequence, embedSequenceBackward, imagesEach } from './embedSequence.ts'

export const entries: readonly KernelEntry[] = [
  { spec: embedSequence, cases: embedSequenceCases, reference: embedSequenceReference },
  { spec: embedSequenceBackward, cases: embedSequenceBackwardCases, reference: embedSequenceBackwardReference },
]
