import type { KernelEntry } from '../spec.ts'
import { conv2dCases } from './cases.ts'
import { conv2d } from './conv2d.ts'
import { conv2dReference } from './reference.ts'

export { conv2d, splitDepth } from './conv2d.ts'
export * from './geometry.ts'
export type { Conv2d } from './problem.ts'

export const entries: readonly KernelEntry[] = [{ spec: conv2d, cases: conv2dCases, reference: conv2dReference }]
