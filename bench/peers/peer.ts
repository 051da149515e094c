import type { Operand } from '../operands.ts'
import type { Workload } from '../workloads.ts'

/** Another library, on a device of its own over the same driver. */
export interface Peer {
  name: string
  /** The device that the library opened. */
  device: GPUDevice
  /** A value that must not be garbage-collected while the peer is used. */
  keep?: unknown
  /** Makes a workload ready to run. @throws NotOffered when the library lacks the computation */
  prepare(w: Workload, operands: Record<string, Operand>): Promise<PeerRun>
}

/** A workload in a peer, ready to run. */
export interface PeerRun {
  /** Submits one run to the device; its result is kept until the next run. */
  run(): void | Promise<void>
  /** The values of the last run: an op's output, or a step's loss. */
  last(): Promise<ArrayLike<number>>
  /** Waits until the device has done all submitted runs. */
  done(): Promise<void>
  /** Values by the names of `OurRun.values` in ours.ts. */
  values(): Promise<Record<string, ArrayLike<number>>>
  dispose(): void
}

/** Thrown for a computation that the library lacks. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'
}

/**
 * Opens a peer in a page or process that has `navigator.gpu`. Peers are installed apart, so the type checker does not know
 * them.
 */
export type OpenPeer = () => Promise<Peer>
