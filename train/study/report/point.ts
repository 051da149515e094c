/** The images on which a loss was measured. */
export type Split = 'train' | 'validation' | 'test'

/** A point of a learning curve: a prefix at a moment of a run. */
export interface Point {
  split: Split
  /** Branches of the prefix. */
  prefix: number
  epoch: number
  /** Mini-batches done. */
  step: number
  /** Seconds of training so far. */
  seconds?: number | undefined
  /** Training FLOPs so far. */
  flops?: number | undefined
  loss: number
  accuracy: number
}
