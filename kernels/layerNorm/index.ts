import type { KernelEntry } from '../spec.ts'
import { layerNormBackwardCases, layerNormCases, layerNormCombineCases, layerNormParametersCases } from './cases.ts'
import { layerNorm } from './layerNorm.ts'
import { layerNormBackward } from './layerNormBackward.ts'
import { layerNormCombine, layerNormParameters } from './layerNormParameters.ts'
import {
  layerNormBackwardReference,
  layerNormCombineReference,
  layerNormParametersReference,
  layerNormReference,
} from './reference.ts'

export { layerNorm } from './layerNorm.ts'
export { layerNormBackward } from './layerNormBackward.ts'
export { layerNormChunks, layerNormCombine, layerNormParameters } from './layerNormParameters.ts'

export const entries: readonly KernelEntry[] = [
  { spec: layerNorm, cases: layerNormCases, reference: layerNormReference },
  { spec: layerNormBackward, cases: layerNormBackwardCases, reference: layerNormBackwardReference },
  { spec: layerNormParameters, cases: layerNormParametersCases, reference: layerNormParametersReference },
  { spec: layerNormCombine, cases: layerNormCombineCases, reference: layerNormCombineReference },
]
