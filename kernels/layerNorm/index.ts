import type { KernelEntry } from '../spec.ts'
import { layerNormBackwardCases, layerNormCases, layerNormCombineCases } from './cases.ts'
import { layerNorm } from './layerNorm.ts'
import { layerNormBackward } from './layerNormBackward.ts'
import { layerNormCombine } from './layerNormCombine.ts'
import { layerNormBackwardReference, layerNormCombineReference, layerNormReference } from './reference.ts'

export { layerNorm } from './layerNorm.ts'
export { type LayerNormBackwardProblem, layerNormBackward, layerNormChunks } from './layerNormBackward.ts'
export { layerNormCombine } from './layerNormCombine.ts'

export const entries: readonly KernelEntry[] = [
  { spec: layerNorm, cases: layerNormCases, reference: layerNormReference },
  { spec: layerNormBackward, cases: layerNormBackwardCases, reference: layerNormBackwardReference },
  { spec: layerNormCombine, cases: layerNormCombineCases, reference: layerNormCombineReference },
]
