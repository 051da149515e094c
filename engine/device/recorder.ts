import type { KernelSpec } from '../../kernels/spec.ts'
import type { UpdateData, UpdateParams } from '../graph/graph.ts'
import type { Lane } from '../graph/lane.ts'
import type { Binding } from '../memory/bindings.ts'
import type { DeviceBuffer } from '../memory/deviceBuffer.ts'
import type { Changeable } from '../memory/version.ts'
import type { Bytes } from '../submit/stream.ts'

/** One launch of a kernel, before its variant is chosen. */
export interface KernelLaunch<P = any> {
  spec: KernelSpec<P>
  problem: P
  /** Operands in the order of the kernel's bindings. */
  bindings: readonly Binding[]
  /** Name of the variant to take where none is pinned. */
  variant?: string | undefined
  /** Gives the parameters that change, before every replay of a capture. */
  updateParams?: UpdateParams | undefined
  /** The op that launches the kernel, for errors and traces. */
  op: string
  /** The lane of the branch that launches the kernel. */
  lane: Lane | undefined
}

/** Takes the work that ops ask a device for, to execute it soon, add it to a graph, or list its kernels for the autotuner. */
export interface Recorder {
  /** Allocates memory for a tensor. @throws OutOfMemoryError, DeviceLostError */
  acquire(bytes: number): DeviceBuffer
  /** Records one launch of a kernel. @throws Error when no variant runs on the device, or it does not take the grid */
  dispatch(launch: KernelLaunch): void
  /** Records a copy between two buffers. */
  copy(source: Binding, target: Binding, bytes: number, lane: Lane | undefined): void
  /** Records a copy of `data` into a buffer. @param updateData gives the data of every replay of a capture */
  write(target: Binding, data: Bytes, lane: Lane | undefined, updateData?: UpdateData): void
  /** Notes that the next command uses the memory of a tensor. @param changes whether the command changes the memory */
  uses(buffer: DeviceBuffer, version: Changeable, changes: boolean): void
  /** Notes that the work that follows belongs to another lane, or to none. */
  enter(lane: Lane | undefined): void
}
