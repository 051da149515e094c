import type { Device } from '../../engine/index.ts'

/** What is timed of a model. */
export type Pass = 'forward' | 'step'

/** Learning rate of all steps: with it a step does all its work and leaves the parameters alone, so that steps can be compared. */
export const STILL = 0
/** Largest norm of the gradient, as in training. */
export const MAX_NORM = 1

/** Values by name: `logits`; or gradients by parameter, `losses` and `norm`, as far as a candidate knows them. */
export type Values = ReadonlyMap<string, Float32Array>

/** Bytes that the values of one run take: what is taken from the pool at most at once, or what was planned. */
export interface PassMemory {
  bytes: number
  /** With a buffer for each value, where that is known. */
  unplanned?: number
}

/** One pass of one model in one mode, ready to be run again and again. */
export interface Candidate {
  /** Such as `coalesced`. */
  name: string
  architecture: 'paraformer' | 'vit'
  /** That it runs on, the one with the clock first. */
  devices: readonly Device[]
  /** Hands one run to the devices. @returns milliseconds of JavaScript until they have all of it, waits left out */
  submit(): number | Promise<number>
  /** Waits until the values of what was submitted last are there. */
  wait(): Promise<void>
  /** What a run gives: it is run once for that. */
  values(): Promise<Values>
  /** What the last run gave, as far as it is kept: one value at least. */
  last(): Promise<Values>
  memory?(): Promise<PassMemory>
  /** Dispatches of the longest chain of which each must follow the one before. */
  chain?(): number
  /** Bytes that have crossed between devices so far. */
  moved?(): number
  dispose(): void
}
