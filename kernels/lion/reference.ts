import type { Arrays } from '../spec.ts'
import type { Lion } from './lion.ts'

export function lionReference({ blocks, beta1, beta2, complement1, complement2 }: Lion, arrays: Arrays): Arrays {
  const { values, gradients, momentumBuffer, blockSlot, slots } = arrays as Required<typeof arrays> & Arrays
  for (let i = 0; i < blocks * 64; i++) {
    const [lr, , decay, factor] = slots!.subarray(4 * blockSlot![i >> 6]!) as unknown as [number, number, number, number]
    if (factor < 0) continue
    const g = gradients![i]! * factor
    const m = momentumBuffer![i]!
    values![i] = values![i]! * (1 - decay) - lr * Math.sign(beta1 * m + complement1 * g)
    momentumBuffer![i] = beta2 * m + complement2 * g
  }
  return { values: values!, momentumBuffer: momentumBuffer! }
}
