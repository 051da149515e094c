import type { KernelEntry } from '../spec.ts'
import { augment } from './augment.ts'
import { augmentCases, resizeImagesCases } from './cases.ts'
import { augmentReference, resizeImagesReference } from './reference.ts'
import { resizeImages } from './resizeImages.ts'

export * from './augment.ts'
export * from './resizeImages.ts'

export const entries: KernelEntry[] = [
  { spec: resizeImages, cases: resizeImagesCases, reference: resizeImagesReference },
  { spec: augment, cases: augmentCases, reference: augmentReference },
]
