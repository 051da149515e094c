import type { KernelCase } from '../spec.ts'
import type { Ema } from './ema.ts'

function emaCase(name: string, blocks: number, part: number, bench = false): KernelCase<Ema> {
  return {
    name,
    problem: { blocks, part },
    sizes: { averages: 64 * blocks, values: 64 * blocks },
    fills: { averages: 'normal', values: 'normal' },
    tolerance: 1e-6,
    bench,
  }
}

export const emaCases: KernelCase<Ema>[] = [
  ...[1, 7, 33, 257, 1025].map((blocks) => emaCase(`${blocks} blocks`, blocks, 0.1)),
  emaCase('a decay of 0', 7, 1),
  emaCase('a decay of 1', 7, 0),
  emaCase('7.3 M parameters', 114_063, 1e-3, true),
]
