import type { Device } from '../engine/index.ts'

/** What can be measured, from single kernels to training steps. */
export const GROUPS = ['kernels', 'ops', 'layers', 'models'] as const
export type Group = (typeof GROUPS)[number]

/** One line of the bench. */
export interface Target {
  group: Group
  name: string
  /** Of a kernel: which algorithm; of the others: `forward`, `step` and such. */
  variant: string
  shape: string
  /** Floating-point operations of one run; a multiply-add counts two. */
  flops: number
  /** Bytes that one run must move at least; 0 where nobody counted them. */
  bytes: number
  /** One dispatch, which the device's clock can time. */
  single: boolean
  /** Allocates what it works on. */
  prepare(device: Device): Prepared
}

/** A target ready to run on a device. */
export interface Prepared {
  /** Records one run into the current stream. */
  record(): void
  /**
   * Runs once and looks at the values.
   * @returns the error found (norm-relative), within tolerance
   * @throws Error that says what is wrong
   */
  check(): Promise<number>
  dispose(): void
}

/** A target's name in reports and in the history. */
export function idOf({ group, name, variant, shape }: Pick<Target, 'group' | 'name' | 'variant' | 'shape'>): string {
  return `${group}/${name}/${variant} ${shape}`
}

/** Fails unless a difference is within a tolerance; NaN is not. */
export function within(difference: number, tolerance: number, what: string): number {
  if (!(difference <= tolerance)) throw new Error(`${what}: off by ${difference.toExponential(2)}, more than ${tolerance}`)
  return difference
}
