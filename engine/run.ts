import type { KernelSpec } from '../kernels/spec.ts'
import type { BufferRange, Device } from './device.ts'
import type { Refresh } from './graph/graph.ts'
import type { Storage } from './storage.ts'

/** What `run` binds: memory of a device from an element on. */
export interface Bindable {
  readonly device: Device
  readonly storage: Storage
  /** First element, a multiple of 64. */
  readonly offset: number
  /** One behind the last element; absent: the memory's end. */
  readonly end?: number
}

/** Elements to which a binding's start is aligned (256 bytes). */
export const BINDING_ALIGNMENT = 64

/**
 * Records one dispatch of a kernel into the current stream.
 * @param problem every parameter of the kernel by name, and what else its variants ask for
 * @param tensors in the order of the kernel's bindings, each bound from its own first element on
 * @param options.refresh parameters that every replay of a capture computes anew
 */
export function run<P>(
  spec: KernelSpec<P>,
  problem: P,
  tensors: readonly Bindable[],
  options?: { variant?: string; refresh?: Refresh },
): void {
  const { device } = tensors[0]!
  const ranges: BufferRange[] = tensors.map(({ storage, offset, end }) => {
    if (storage.device !== device)
      throw new Error(`${device.op || spec.name}: tensors of two devices; move one with data() first`)
    if (offset % BINDING_ALIGNMENT !== 0)
      throw new Error(`${spec.name}: a binding starts at element ${offset}, not a multiple of 64`)
    const { buffer } = storage
    const range = { buffer, offset: offset * 4, owner: storage }
    return end === undefined ? range : { ...range, end: end * 4 }
  })
  device.dispatch(spec, problem, ranges, options?.variant, options?.refresh)
}

/** The whole memory behind a tensor, for kernels that take an offset and strides. */
export function base({ device, storage }: Bindable): Bindable {
  return { device, storage, offset: 0 }
}
