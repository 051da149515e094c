import { bindingDtype, type KernelSpec, SCALAR_BYTES } from '../../kernels/spec.ts'
import type { Device } from '../device/device.ts'
import type { UpdateParams } from '../graph/graph.ts'
import { bindingAlignment, type Dtype, ITEM_BYTES } from '../layout/dtype.ts'
import type { Binding } from '../memory/bindings.ts'
import type { Storage } from '../memory/storage.ts'
import type { Changeable } from '../memory/version.ts'

/** What `run` binds: memory of a device from an element on. */
export interface Bindable {
  readonly device: Device
  readonly storage: Storage<Device>
  readonly dtype: Dtype
  /** First element, a multiple of `bindingAlignment`. */
  readonly offset: number
  /** One behind the last element; absent: the memory's end. */
  readonly end?: number
  /** Counts what kernels change there. */
  readonly version: Changeable
}

/**
 * Records one dispatch of a kernel into the current stream.
 * @param problem every parameter of the kernel by name, and what else its variants ask for
 * @param tensors in the order of the kernel's bindings, each bound from its own first element on
 * @param options.updateParams gives the parameters that change, for every replay of a capture
 */
export function run<P>(
  spec: KernelSpec<P>,
  problem: P,
  tensors: readonly Bindable[],
  options?: { variant?: string; updateParams?: UpdateParams },
): void {
  const { device } = tensors[0]!
  const bindings: Binding[] = tensors.map(({ storage, dtype, offset, end, version }, i) => {
    if (storage.device !== device)
      throw new Error(`${device.op || spec.name}: tensors of two devices; move one with data() first`)
    const binding = spec.bindings[i]!
    const bytes = ITEM_BYTES[dtype]
    const taken = bindingDtype(binding, problem)
    if (bytes !== SCALAR_BYTES[taken])
      throw new Error(`${spec.name}: the binding ${binding.name} is ${taken}, got a tensor of ${dtype}`)
    if (offset % bindingAlignment(dtype) !== 0)
      throw new Error(`${spec.name}: a binding starts at element ${offset}, not a multiple of ${bindingAlignment(dtype)}`)
    device.uses(storage.buffer, version, binding.access === 'read_write' ? device.op || spec.name : undefined)
    const { buffer } = storage
    const bound = { buffer, offset: offset * bytes, owner: storage }
    return end === undefined ? bound : { ...bound, end: end * bytes }
  })
  device.dispatch(spec, problem, bindings, options?.variant, options?.updateParams)
}

/** The memory of a tensor as words of 4 bytes. */
export function words({ device, storage, offset, dtype, version }: Bindable): Bindable {
  return { device, storage, version, dtype: 'int32', offset: (offset * ITEM_BYTES[dtype]) / 4 }
}

/** The whole memory behind a tensor, for kernels that take an offset and strides. */
export function base({ device, storage, dtype, end, version }: Bindable): Bindable {
  const whole = { device, storage, version, dtype, offset: 0 }
  return end === undefined ? whole : { ...whole, end }
}
