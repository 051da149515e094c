import type { Arrays } from '../spec.ts'
import { philox4x32 } from './philox.ts'
import type { Dropout, Random, RandomWords } from './random.ts'

/** The first `count` random words of a stream. */
export function words(count: number, { seedLow, seedHigh, streamLow, streamHigh }: RandomWords): Uint32Array {
  const out = new Uint32Array(4 * Math.ceil(count / 4))
  for (let k = 0; k < out.length / 4; k++) out.set(philox4x32([k, 0, streamLow, streamHigh], [seedLow, seedHigh]), 4 * k)
  return out.subarray(0, count)
}

export function randomReference(problem: Random, { y }: Arrays): Arrays {
  const all = words(4 * Math.ceil(problem.count / 4), problem)
  const uniform = (i: number) => (all[i]! >>> 8) * 2 ** -24
  return {
    y: y!.map((_, i) => {
      if (problem.distribution === 'uniform') return uniform(i)
      const pair = i & ~1
      const radius = Math.sqrt(-2 * Math.log(1 - uniform(pair)))
      const angle = 2 * Math.PI * uniform(pair + 1)
      return radius * (i === pair ? Math.cos(angle) : Math.sin(angle))
    }),
  }
}

export function dropoutReference(problem: Dropout, { x, y }: Arrays): Arrays {
  const all = words(problem.count, problem)
  return { y: y!.map((_, i) => x![i]! * (all[i]! >= problem.threshold ? Math.fround(problem.scale) : 0)) }
}
