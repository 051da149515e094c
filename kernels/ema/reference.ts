import type { Arrays } from '../spec.ts'
import type { Ema } from './ema.ts'

export function emaReference({ blocks, part }: Ema, arrays: Arrays): Arrays {
  const { averages, values } = arrays as Required<typeof arrays> & Arrays
  for (let i = 0; i < 64 * blocks; i++) averages![i]! += part * (values![i]! - averages![i]!)
  return { averages: averages! }
}
