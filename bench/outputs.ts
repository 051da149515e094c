import type { Device } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'
import { bytesOf, valuesOf } from '../kernels/fill.ts'
import type { Scalar } from '../kernels/spec.ts'

/** A value that a run computes; every Tensor is one. */
export interface Output {
  data(): Promise<ArrayLike<number>>
  dispose(): void
}

/** What a run computes: at least one value, since a run that gives none may be left out as a whole and then seems very fast. */
export type Outputs = readonly [Output, ...Output[]]

/** Frees the outputs of a run. */
export function disposeAll(outputs: readonly Output[]): void {
  for (const output of outputs) output.dispose()
}

/** Memory that a run writes to, as an output; it goes on to belong to whoever made it. */
export function outputOf(device: Device, range: Binding, dtype: Scalar, size: number): Output {
  return {
    data: async () => valuesOf(dtype, await device.read(range, bytesOf(dtype, size)), size),
    dispose: () => {},
  }
}

/**
 * Looks at the outputs of a run where nobody knows their values.
 * @throws Error when one is not finite, or nothing but zeros: memory that was never written
 */
export function checkComputed(values: readonly ArrayLike<number>[]): void {
  values.forEach((one, i) => {
    let computed = false
    for (let j = 0; j < one.length; j++) {
      const value = one[j]!
      if (!Number.isFinite(value)) throw new Error(`output ${i} has ${value} at ${j}`)
      computed ||= value !== 0
    }
    if (!computed) throw new Error(`output ${i} is nothing but zeros`)
  })
}
