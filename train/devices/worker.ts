import type { RandomStream } from '../../engine/device/random.ts'
import type { TracedDevice } from '../../engine/index.ts'
import type { SafetensorsEntry } from '../checkpoint/safetensors.ts'

/** Values by parameter name. */
export type Entries = Map<string, SafetensorsEntry>

/** What the branches of one forward pass are to do. */
export interface ForwardRequest {
  /** Images that were sent before. */
  images: number
  /** Only the first so many branches of the model take part. */
  branches: number
  /** Whether the rows of each branch are wanted, or only their sum. */
  eachBranch: boolean
  /** Whether dropout is on. */
  training: boolean
  /** Whether a backward pass follows. */
  differentiate: boolean
  /** What the loss is multiplied by there. */
  lossScale: number
  /** Where the random state of device 0 stands: the same bits are drawn everywhere. */
  random: RandomStream
}

/** What a device tells after the backward passes of a step. */
export interface StemGradient {
  /** Gradient of all stem parameters that comes from the branches of the device, flat, in the layout of an arena. */
  stem: Float32Array
  /** Square of the norm of the gradient of its branches. */
  square: number
}

/** An optimizer step. */
export interface UpdateRequest {
  lr: number
  maxNorm: number
  /** Square of the norm of the whole gradient. */
  square: number
  /** The stem's parameters after the step, flat. */
  stem: Float32Array
}

/** Some parameters with what AdamW knows about them. */
export interface PartState {
  parameters: Entries
  m: Entries
  v: Entries
  steps: Record<string, number>
}

/**
 * Branches that live on a device of their own, with a copy of the stem and the optimizer state of the branches. Calls take effect in
 * their order, and what they record is handed to the device before they return. A call that fails rejects; the worker is of no use
 * afterwards.
 */
export interface BranchWorker {
  /** Such as `device 1 (process 1234)`. */
  readonly name: string
  /** Branches, by their place in the model. */
  readonly own: readonly number[]
  /** Rejects when the worker is gone, never else. */
  readonly lost: Promise<never>
  /** Puts normalised images [count, C, H, W] on the device. */
  load(id: number, images: Float32Array, count: number): Promise<void>
  drop(id: number): Promise<void>
  /** Rows that the head reads: [B, D] of each of its branches that take part, or of their sum. */
  forward(request: ForwardRequest): Promise<Float32Array>
  /** Sends the gradient of what `forward` gave last, laid out alike, through branches and stem; gradients add up. */
  backward(cotangent: Float32Array): Promise<void>
  /** The stem's gradient, which is forgotten here. */
  stemGradient(): Promise<StemGradient>
  /** Updates the branches that have gradients, which are forgotten, and takes over the stem. */
  update(request: UpdateRequest): Promise<void>
  /** The gradients of the branches, which are forgotten. */
  gradients(): Promise<Entries>
  /** A copy of its branches and their optimizer state. */
  state(): Promise<PartState>
  /** Times every dispatch from now until `endTrace`. Rejects with UserError where the device cannot. */
  startTrace(): Promise<void>
  endTrace(): Promise<TracedDevice>
  /** From now on it is lost when nothing was heard of it for some seconds. */
  hurry(): void
  close(): Promise<void>
}
