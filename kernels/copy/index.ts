import type { KernelEntry } from '../spec.ts'
import { arangeCases, arangeIntCases, arangeWholeCases, copyCases, fillCases, padCases } from './cases.ts'
import { copy } from './copy.ts'
import { arange, arangeInt, arangeWhole, fill } from './fill.ts'
import { pad } from './pad.ts'
import { arangeReference, arangeWholeReference, copyReference, fillReference, padReference } from './reference.ts'

export * from './copy.ts'
export * from './fill.ts'
export { flipProblem } from './flip.ts'
export * from './pad.ts'

export const entries: KernelEntry[] = [
  { spec: copy, cases: copyCases, reference: copyReference },
  { spec: pad, cases: padCases, reference: padReference },
  { spec: fill, cases: fillCases, reference: fillReference },
  { spec: arange, cases: arangeCases, reference: arangeReference },
  { spec: arangeWhole, cases: arangeWholeCases, reference: arangeWholeReference },
  { spec: arangeInt, cases: arangeIntCases, reference: arangeReference },
]
