import type { Device } from '../engine/index.ts'
import type { Outputs } from './outputs.ts'

/** Groups of targets, from single kernels to whole models. */
export const GROUPS = ['kernels', 'ops', 'layers', 'models'] as const
export type Group = (typeof GROUPS)[number]

/** One thing to measure: a line of the report. */
export interface Target {
  group: Group
  name: string
  /** The variant of a kernel; `forward` or a kind of `step` for all others. */
  variant: string
  shape: string
  /** Floating-point operations of one run; a multiply-add counts as two. */
  flops: number
  /** Smallest number of bytes that one run must move; 0 where they are not counted. */
  bytes: number
  /** The folder of a kernel; of all else the targets that a quick run takes one of. Default the name. */
  family?: string
  /** Whether the device chooses this variant of a kernel by itself; undefined of all else. */
  usual?: boolean
  /** Whether a run is one dispatch, which the device's clock can time. */
  single: boolean
  /** The units that multiply: vector units, or those for float16 matrices (tensor cores), which have a ceiling of their own. */
  unit: 'vector' | 'matrix'
  /** Allocates the operands on a device. */
  prepare(device: Device): Prepared
}

/** A target ready to run on a device. */
export interface Prepared {
  /** Records one run into the current stream. */
  record(): Outputs
  /**
   * Records the same run op by op, without a replay, so that the tuner can look at it; of what is not captured it is `record`.
   */
  ops(): Outputs
  /** Floating-point operations that a run executes, by the cost models of its kernels; known after a run. */
  executed(): number
  /**
   * Runs the target and checks its values.
   * @returns the norm-relative error, which is within tolerance
   * @throws Error for wrong values
   */
  check(): Promise<number>
  /** Checks the values of the last timed run, and what the timed runs left behind. @throws Error for wrong values */
  confirm(values: readonly ArrayLike<number>[]): void | Promise<void>
  dispose(): void
}

/** Returns a target's name in reports and in the history. */
export function idOf({ group, name, variant, shape }: Pick<Target, 'group' | 'name' | 'variant' | 'shape'>): string {
  return `${group}/${name}/${variant} ${shape}`
}

/** Returns the difference itself. @throws Error for one beyond the tolerance, and for NaN */
export function within(difference: number, tolerance: number, what: string): number {
  if (!(difference <= tolerance)) throw new Error(`${what}: off by ${difference.toExponential(2)}, more than ${tolerance}`)
  return difference
}
