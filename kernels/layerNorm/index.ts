import type { KernelEntry } from '../spec.ts'
import { layerNormBackwardCases, layerNormCases, layerNormCombineCases } from './cases.ts'
import { layerNorm } from './layerNorm.ts'
import { layerNormBackward, layerNormCombine } from './layerNormBackward.ts'
import { layerNormBackwardReference, layerNormCombineReference, layerNormReference } from './reference.ts'

export { layerNorm } from './layerNorm.ts'
export { type LayerNormBackwardProblem, layerNormBackward, layerNormChunks, layerNormCombine } from './layerNormBackward.ts'

export const entries: readonly KernelEntry[] = [
  { spec: layerNorm, cases: layerNormCases, reference: layerNormReference },
  { spec: layerNormBackward, cases: layerNormBackwardCases, reference: layerNormBackwardReference },
  { spec: layerNormCombine, cases: layerNormCombineCases, reference: layerNormCombineReference },
]
