import type { Device } from '../engine/index.ts'
import type { Outputs } from './outputs.ts'

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
  /** What multiplies: the vector units, or those for matrices of float16 (tensor cores), whose ceiling is another. */
  unit: 'vector' | 'matrix'
  /** Allocates what it works on. */
  prepare(device: Device): Prepared
}

/** A target ready to run on a device. */
export interface Prepared {
  /** Records one run into the current stream. */
  record(): Outputs
  /** The same as ops on the host, which somebody else may record or capture; of what is not captured it is `record`. */
  ops(): Outputs
  /** Floating-point operations of what a run executes, by the cost models of its kernels; known once it has run. */
  executed(): number
  /**
   * Runs once and looks at the values.
   * @returns the error found (norm-relative), within tolerance
   * @throws Error that says what is wrong
   */
  check(): Promise<number>
  /** Looks at the values of the last timed run, as `check` at those of the first. @throws Error that says what is wrong */
  confirm(values: readonly ArrayLike<number>[]): void
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
