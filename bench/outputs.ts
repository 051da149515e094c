import type { Device } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'
import { bytesOf, valuesOf } from '../kernels/fill.ts'
import type { Scalar } from '../kernels/spec.ts'

/** Values that a run computes; every Tensor is an Output. */
export interface Output {
  data(): Promise<ArrayLike<number>>
  dispose(): void
}

/**
 * All that a run computes. It is at least one output: a capture leaves out work without outputs, which would then seem very
 * fast.
 */
export type Outputs = readonly [Output, ...Output[]]

/** Frees the outputs of a run. */
export function disposeAll(outputs: readonly Output[]): void {
  for (const output of outputs) output.dispose()
}

/** Returns the memory that a run writes as an output, whose `dispose` leaves the memory to the caller. */
export function outputOf(device: Device, range: Binding, dtype: Scalar, size: number): Output {
  return {
    data: async () => valuesOf(dtype, await device.read(range, bytesOf(dtype, size)), size),
    dispose: () => {},
  }
}

/**
 * Checks outputs whose values are unknown.
 * @throws Error for a value that is not finite, and for an output of zeros alone, which was probably never written
 */
export function checkComputed(values: readonly ArrayLike<number>[]): void {
  values.forEach((output, i) => {
    let computed = false
    for (let j = 0; j < output.length; j++) {
      const value = output[j]!
      if (!Number.isFinite(value)) throw new Error(`output ${i} has ${value} at ${j}`)
      computed ||= value !== 0
    }
    if (!computed) throw new Error(`output ${i} is nothing but zeros`)
  })
}
