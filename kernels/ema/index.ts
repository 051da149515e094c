import type { KernelEntry } from '../spec.ts'
import { emaCases } from './cases.ts'
import { ema } from './ema.ts'
import { emaReference } from './reference.ts'

export * from './ema.ts'

export const entries: KernelEntry[] = [{ spec: ema, cases: emaCases, reference: emaReference }]
