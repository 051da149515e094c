import type { RandomStream } from '../../engine/device/random.ts'
import type { TracedDevice } from '../../engine/index.ts'
import type { Entries, ModelState } from '../modelState.ts'

/** A forward pass over the branches of a device. */
export interface ForwardRequest {
  /** The number under which `load` put the images on the device. */
  images: number
  /** Number k of the prefix, whose first k branches take part. */
  branches: number
  /** Whether the result is the rows of each branch, or only their sum. */
  eachBranch: boolean
  /** Whether dropout is on. */
  training: boolean
  /** Whether a backward pass follows. */
  differentiate: boolean
  /** The loss scale of device 0. */
  lossScale: number
  /** The random state of device 0, so that all devices draw the same bits. */
  random: RandomStream
}

/** The result of a device's backward passes of a step. */
export interface StemGradient {
  /** The part of the stem's gradient that comes from the device's branches, flat, in the layout of an arena. */
  stem: Float32Array
  /** The squared norm of the gradient of the device's branches. */
  square: number
}

/** An optimizer step. */
export interface UpdateRequest {
  lr: number
  maxNorm: number
  /** The squared norm of the whole gradient. */
  square: number
  /** The stem's parameters after the step, flat. */
  stem: Float32Array
}

/**
 * Branches that live on a device of their own, with a copy of the stem and the optimizer state of the branches. Calls take effect
 * in their order, and the device has their commands before they return. After a call that rejects the worker is of no use.
 * `LocalBranchWorker` runs in this process, `RemoteBranchWorker` in another one.
 */
export interface BranchWorker {
  /** A name for messages, such as `device 1 (process 1234)`. */
  readonly name: string
  /** The branches that live here, by their index in the model. */
  readonly own: readonly number[]
  /** Rejects when the worker is lost, and never settles otherwise. */
  readonly lost: Promise<never>
  /** Puts normalised images [count, C, H, W] on the device under a number. */
  load(id: number, images: Float32Array, count: number): Promise<void>
  /** Frees the images of that number. */
  drop(id: number): Promise<void>
  /** Computes the rows that the head reads: [B, D] of each of its branches that take part, or of their sum. */
  forward(request: ForwardRequest): Promise<Float32Array>
  /** Sends the gradient of the rows of the last `forward`, laid out alike, through branches and stem; gradients add up. */
  backward(cotangent: Float32Array): Promise<void>
  /** Takes the stem's gradient, which is cleared here. */
  stemGradient(): Promise<StemGradient>
  /** Updates the branches that have gradients, clears these, and takes over the stem. */
  update(request: UpdateRequest): Promise<void>
  /** Takes the gradients of the branches, which are cleared here. */
  gradients(): Promise<Entries>
  /** Copies the state of the branches to the host. */
  state(): Promise<ModelState>
  /** Times every dispatch until `endTrace`. @throws UserError when the device has no timestamp queries */
  startTrace(): Promise<void>
  endTrace(): Promise<TracedDevice>
  /** Shortens the silence after which the worker counts as lost to some seconds. */
  hurry(): void
  close(): Promise<void>
}
