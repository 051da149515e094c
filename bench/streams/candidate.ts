import type { Device } from '../../engine/index.ts'

/** The work that is timed: the forward pass of a model, or a training step. */
export type Pass = 'forward' | 'step'

/**
 * Learning rate of all steps. With 0 a step does all its work and keeps the parameters, so that the values of steps can be
 * compared.
 */
export const ZERO_LR = 0
/** Norm to which gradients are clipped, as in training. */
export const MAX_NORM = 1

/**
 * Values by name: `logits` of a forward pass; of a step `losses`, `norm` and gradients by parameter, as far as a candidate has
 * them.
 */
export type Values = ReadonlyMap<string, Float32Array>

/** Memory of the values of one run. */
export interface PassMemory {
  /** Peak bytes taken from the pool, or the bytes of the memory plan. */
  bytes: number
  /** Bytes with a buffer of its own for each value, where that is known. */
  unplanned?: number
}

/** One pass of one model in one mode, ready to run repeatedly. */
export interface Candidate {
  /** Such as `coalesced`. */
  name: string
  architecture: 'paraformer' | 'vit'
  /** The devices that it runs on. */
  devices: readonly Device[]
  /** Submits one run to the devices. @returns milliseconds of JavaScript that this takes, without waits */
  submit(): number | Promise<number>
  /** Waits until the values of the last submitted run are there. */
  wait(): Promise<void>
  /** Runs once and gives the values. */
  values(): Promise<Values>
  /** The values of the last run, as far as they are kept: at least one. */
  last(): Promise<Values>
  memory?(): Promise<PassMemory>
  /** Length of the longest chain of dependent dispatches. */
  chain?(): number
  /** Bytes that have moved between devices so far. */
  moved?(): number
  dispose(): void
}
