import type { Operand } from '../operands.ts'
import type { Workload } from '../workloads.ts'

/** Another library, on a device of its own over the same driver. */
export interface Peer {
  name: string
  /** The device it opened. */
  device: GPUDevice
  /** What must not be collected as long as the peer is used. */
  keep?: unknown
  /** Puts a workload in place. @throws NotOffered when the library cannot do it */
  prepare(w: Workload, operands: Record<string, Operand>): Promise<PeerRun>
}

/** A workload of a peer, ready to run. */
export interface PeerRun {
  /** Hands one run to the device, and keeps what it gives until the next. */
  run(): void | Promise<void>
  /** What the last run gave: the output, or the loss of a step. */
  last(): Promise<ArrayLike<number>>
  /** Waits until the device has done all of them. */
  done(): Promise<void>
  /** What it gives, under the names of `Running.values` in ours.ts. */
  values(): Promise<Record<string, ArrayLike<number>>>
  dispose(): void
}

/** The library has no such computation. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'
}

/** Opens a peer; the page or process has `navigator.gpu`. Libraries are installed apart, so the type checker knows none. */
export type OpenPeer = () => Promise<Peer>
