import { bindingDtype, packParams, paramWords, SCALAR_BYTES } from '../../kernels/spec.ts'
import { Graph, type UpdateData } from '../graph/graph.ts'
import type { Lane } from '../graph/lane.ts'
import type { Binding } from '../memory/bindings.ts'
import type { BufferPool } from '../memory/bufferPool.ts'
import { type DeviceBuffer, isPlanned } from '../memory/deviceBuffer.ts'
import type { Changeable } from '../memory/version.ts'
import type { Bytes } from '../submit/stream.ts'
import type { KernelSelection } from './kernelSelection.ts'
import type { KernelLaunch, Recorder } from './recorder.ts'

/** Adds commands to a graph, on planned memory. Nothing is executed. */
export class GraphRecorder implements Recorder {
  readonly graph = new Graph()
  readonly #kernels: KernelSelection
  readonly #pool: BufferPool

  constructor(kernels: KernelSelection, pool: BufferPool) {
    this.#kernels = kernels
    this.#pool = pool
  }

  acquire(bytes: number): DeviceBuffer {
    this.#pool.checkSize(bytes)
    return this.graph.acquire(bytes)
  }

  dispatch(launch: KernelLaunch): void {
    const { spec, problem, bindings, op, lane, updateParams } = launch
    const { kernel, grid } = this.#kernels.select(launch)
    const words = new Uint32Array(paramWords(spec.params))
    const views = { u32: words, i32: new Int32Array(words.buffer), f32: new Float32Array(words.buffer) }
    packParams(spec.params, problem as Record<string, unknown>, views, 0)
    const itemBytes = spec.bindings.map((binding) => SCALAR_BYTES[bindingDtype(binding, problem)])
    this.graph.add({ kind: 'dispatch', kernel, spec, problem, itemBytes, bindings, words, grid, op, lane, updateParams })
  }

  copy(source: Binding, target: Binding, bytes: number, lane: Lane | undefined): void {
    this.graph.add({ kind: 'copy', source, target, bytes, lane })
  }

  write(target: Binding, data: Bytes, lane: Lane | undefined, updateData?: UpdateData): void {
    this.graph.add({ kind: 'write', target, data: data.slice(), updateData, lane })
  }

  uses(buffer: DeviceBuffer, version: Changeable, changes: boolean): void {
    if (!isPlanned(buffer)) this.graph.uses(version, changes)
  }

  enter(): void {}
}
