import type { TracedDevice } from '../../engine/index.ts'

/** Forward and backward passes over a device's slice of a mini-batch. */
export interface GradientRequest {
  /** The micro-batches of the slice, in their order. */
  parts: readonly SlicePart[]
  /** The seed of device 0's random state. */
  seed: number
  /** The loss scale of device 0. */
  lossScale: number
}

export interface SlicePart {
  /** The number under which `load` put images and labels on the device. */
  id: number
  /** The share of the micro-batch in the mini-batch of all devices. */
  share: number
  /** The number of the first random stream that the passes take. */
  counter: number
}

/** The result of a device's slice. */
export interface SliceGradient {
  /** The slice's part of the gradient of all parameters, in their order, times the loss scale. */
  gradient: Float32Array
  /** [1] or [m], the slice's share of the mean. */
  losses: Float32Array
  /** Predicted classes [1 or m, B] of each micro-batch. */
  predicted: readonly Int32Array[]
}

/**
 * A copy of a model on a device of its own, which computes the gradient of a slice of each mini-batch. Calls take effect in their order.
 * After a call that rejects the replica is of no use. `LocalReplica` runs in this process, `RemoteReplica` in another one.
 */
export interface ReplicaWorker {
  /** A name for messages, such as `device 1 (process 1234)`. */
  readonly name: string
  /** Rejects when the replica is lost, and never settles otherwise. */
  readonly lost: Promise<never>
  /** Puts normalised images [B, C, H, W] with their classes [B] on the device under a number. */
  load(id: number, images: Float32Array, labels: Int32Array): Promise<void>
  /** Frees the images and labels of that number. */
  drop(id: number): Promise<void>
  /** Computes the gradient of the slice. */
  gradient(request: GradientRequest): Promise<SliceGradient>
  /** Overwrites all parameters, flat, in their order. */
  update(parameters: Float32Array): Promise<void>
  /** Times every dispatch until `endTrace`. @throws UserError when the device has no timestamp queries */
  startTrace(): Promise<void>
  endTrace(): Promise<TracedDevice>
  /** Shortens the silence after which the replica counts as lost to some seconds. */
  hurry(): void
  close(): Promise<void>
}
