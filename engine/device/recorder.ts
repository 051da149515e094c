import type { KernelSpec } from '../../kernels/spec.ts'
import type { UpdateParams } from '../graph/graph.ts'
import type { Lane } from '../graph/lane.ts'
import type { Binding } from '../memory/bindings.ts'
import type { DeviceBuffer } from '../memory/deviceBuffer.ts'
import type { Changeable } from '../memory/version.ts'

/** A kernel to launch, before its variant is chosen. */
export interface KernelLaunch<P = any> {
  spec: KernelSpec<P>
  problem: P
  /** In the order of the kernel's bindings. */
  bindings: readonly Binding[]
  /** The variant to take where none is pinned. */
  variant?: string | undefined
  /** Gives the parameters that change, for every replay of a capture. */
  updateParams?: UpdateParams | undefined
  /** The op that launches it, for errors and traces. */
  op: string
  /** The branch of a fork that it belongs to. */
  lane: Lane | undefined
}

/** Takes the work that ops ask a device for: it executes the work soon, adds it to a graph, or lists it. */
export interface Recorder {
  /** Gives memory for a tensor. @throws OutOfMemoryError, DeviceLostError */
  acquire(bytes: number): DeviceBuffer
  /** Records one launch of a kernel. @throws Error when no variant of the kernel runs on the device */
  dispatch(launch: KernelLaunch): void
  /** Records a copy between two buffers. */
  copy(source: Binding, target: Binding, bytes: number, lane: Lane | undefined): void
  /**
   * Records that `data` is copied into a buffer, after everything recorded so far that uses the buffer.
   * @param update gives the data of every replay of a capture
   */
  write(
    target: Binding,
    data: Uint8Array<ArrayBuffer>,
    lane: Lane | undefined,
    update?: () => ArrayBufferView<ArrayBuffer>,
  ): void
  /** Learns that a command uses memory of a tensor, and whether the command changes it. */
  uses(buffer: DeviceBuffer, version: Changeable, changes: boolean): void
  /** Learns that recording goes on in another lane. */
  enter(lane: Lane | undefined): void
}
