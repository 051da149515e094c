import type { Arrays } from '../spec.ts'
import type { MuonMomentum, MuonUpdate } from './muon.ts'

export function muonMomentumReference({ blocks, momentum, complement, nesterov }: MuonMomentum, arrays: Arrays): Arrays {
  const { gradients, momentumBuffer, directions, blockSlot, blockPlace, slots } = arrays as Required<typeof arrays> & Arrays
  for (let i = 0; i < 64 * blocks; i++) {
    const place = blockPlace![i >> 6]!
    if (place < 0) continue
    const factor = slots![4 * blockSlot![i >> 6]! + 3]!
    const g = gradients![i]! * factor
    if (factor >= 0) momentumBuffer![i] = momentum * momentumBuffer![i]! + complement * g
    const m = momentumBuffer![i]!
    directions![64 * place + (i & 63)] = factor < 0 ? 0 : nesterov ? momentum * m + complement * g : m
  }
  return { momentumBuffer: momentumBuffer!, directions: directions! }
}

export function muonUpdateReference({ blocks }: MuonUpdate, arrays: Arrays): Arrays {
  const { values, directions, blockSlot, blockPlace, slots } = arrays as Required<typeof arrays> & Arrays
  for (let i = 0; i < 64 * blocks; i++) {
    const place = blockPlace![i >> 6]!
    const [lr, scale, decay, factor] = slots!.subarray(4 * blockSlot![i >> 6]!) as unknown as [number, number, number, number]
    if (place < 0 || factor < 0) continue
    values![i] = values![i]! * (1 - decay) - lr * scale * directions![64 * place + (i & 63)]!
  }
  return { values: values! }
}
