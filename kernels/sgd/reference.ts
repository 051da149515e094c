import type { Arrays } from '../spec.ts'
import type { Sgd } from './sgd.ts'

export function sgdReference({ blocks, momentum, nesterov }: Sgd, arrays: Arrays): Arrays {
  const { values, gradients, momentumBuffer, blockSlot, slots } = arrays as Required<typeof arrays> & Arrays
  for (let i = 0; i < blocks * 64; i++) {
    const [lr, part, decay, factor] = slots!.subarray(4 * blockSlot![i >> 6]!) as unknown as [number, number, number, number]
    if (factor < 0) continue
    let direction = gradients![i]! * factor + decay * values![i]!
    if (momentum !== 0) {
      momentumBuffer![i] = momentum * momentumBuffer![i]! + part * direction
      direction = nesterov ? direction + momentum * momentumBuffer![i]! : momentumBuffer![i]!
    }
    values![i]! -= lr * direction
  }
  return { values: values!, momentumBuffer: momentumBuffer! }
}
