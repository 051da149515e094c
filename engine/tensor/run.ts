import { bindingDtype, type KernelSpec, launchesOf, SCALAR_BYTES } from '../../kernels/spec.ts'
import type { Device } from '../device/device.ts'
import type { UpdateParams } from '../graph/graph.ts'
import { bindingAlignment, type Dtype, ITEM_BYTES } from '../layout/dtype.ts'
import type { Binding } from '../memory/bindings.ts'
import type { Storage } from '../memory/storage.ts'
import type { Changeable } from '../memory/version.ts'

/** A range of a device's memory, in elements of one dtype, that `run` binds. */
export interface Bindable {
  readonly device: Device
  readonly storage: Storage<Device>
  readonly dtype: Dtype
  /** The first element; a multiple of `bindingAlignment(dtype)`. */
  readonly offset: number
  /** Exclusive end, in elements; by default the range ends with the memory. */
  readonly end?: number | undefined
  /** Counts the changes of these values. */
  readonly version: Changeable
}

/**
 * Records the launch of a kernel with the device's current recorder.
 * @param problem the kernel's parameters by name, and the other facts that its variants ask for
 * @param tensors in the order of the kernel's bindings, each bound from its first element
 * @param options.variant the variant to take where none is pinned
 * @param options.updateParams computes the parameters that change, before every replay of a capture
 * @throws Error for tensors of two devices, a tensor whose element size is not the binding's, or an unaligned start
 */
export function run<P>(
  spec: KernelSpec<P>,
  problem: P,
  tensors: readonly Bindable[],
  options?: { variant?: string; updateParams?: UpdateParams },
): void {
  const { device } = tensors[0]!
  const bindings: Binding[] = []
  for (let i = 0; i < tensors.length; i++) {
    const { storage, dtype, offset, end, version } = tensors[i]!
    if (storage.device !== device)
      throw new Error(`${device.op || spec.name}: tensors of two devices; move one with data() first`)
    const binding = spec.bindings[i]!
    const bytes = ITEM_BYTES[dtype]
    const scalar = bindingDtype(binding, problem)
    if (bytes !== SCALAR_BYTES[scalar])
      throw new Error(`${spec.name}: the binding ${binding.name} is ${scalar}, got a tensor of ${dtype}`)
    if (offset % bindingAlignment(dtype) !== 0)
      throw new Error(`${spec.name}: a binding starts at element ${offset}, not a multiple of ${bindingAlignment(dtype)}`)
    const { buffer } = storage
    device.uses(buffer, version, binding.access === 'read_write' ? device.op || spec.name : undefined)
    bindings.push({ buffer, offset: offset * bytes, owner: storage, end: end === undefined ? undefined : end * bytes })
  }
  if (!spec.launches) device.dispatch(spec, problem, bindings, options?.variant, options?.updateParams)
  else
    for (const launch of launchesOf(spec, problem))
      device.dispatch(spec, launch, bindings, options?.variant, options?.updateParams)
}

/** A tensor's memory from its first element on, as words of 4 bytes. */
export function asWords({ device, storage, offset, dtype, version }: Bindable): Bindable {
  return { device, storage, version, dtype: 'int32', offset: (offset * ITEM_BYTES[dtype]) / 4 }
}

/** A tensor's memory from the start of its storage on, for kernels that take the offset as a parameter. */
export function fromStorageStart({ device, storage, dtype, end, version }: Bindable): Bindable {
  return { device, storage, version, dtype, offset: 0, end }
}
