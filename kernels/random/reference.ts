import type { Arrays } from '../spec.ts'
import { philox4x32 } from './philox.ts'
import type { Dropout, Flat, Multinomial, Random, RandomWords } from './random.ts'

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

export function randomWordsReference(problem: Flat, { y }: Arrays): Arrays {
  const all = words(problem.count, problem)
  return { y: y!.map((_, i) => all[i]! | 0) }
}

/** The numbers in [0, 1) of a stream. */
function uniforms(count: number, stream: RandomWords): number[] {
  return Array.from(words(count, stream), (word) => (word >>> 8) * 2 ** -24)
}

export function bernoulliReference(problem: Flat, { p, y }: Arrays): Arrays {
  const all = uniforms(problem.count, problem)
  return { y: y!.map((_, i) => (Number.isNaN(p![i]!) ? Number.NaN : all[i]! < p![i]! ? 1 : 0)) }
}

export function multinomialReference(problem: Multinomial, { sums, drawn }: Arrays): Arrays {
  const { rows, classes, draws } = problem
  const all = uniforms(rows * draws, problem)
  for (let i = 0; i < rows * draws; i++) {
    const row = sums!.subarray(Math.floor(i / draws) * classes, (Math.floor(i / draws) + 1) * classes)
    const total = row.at(-1)!
    const goal = Math.fround(all[i]! * total)
    drawn![i] = total > 0 && total < Infinity ? row.findIndex((sum) => sum > goal || (goal === total && sum === total)) : -1
  }
  return { drawn: drawn! }
}

/** The keys are scratch memory: those of classes that were drawn are -1. */
export function multinomialDistinctReference(problem: Multinomial, { weights, keys, drawn }: Arrays): Arrays {
  const { rows, classes, draws } = problem
  const all = uniforms(rows * classes, problem)
  for (let i = 0; i < rows * classes; i++)
    keys![i] = weights![i]! > 0 ? weights![i]! / Math.max(-Math.log(1 - all[i]!), 1e-30) : -1
  for (let row = 0; row < rows; row++) {
    const own = keys!.subarray(row * classes, (row + 1) * classes)
    const valid = weights!.subarray(row * classes, (row + 1) * classes).every((weight) => weight >= 0 && weight < Infinity)
    for (let d = 0; d < draws; d++) {
      const best = own.reduce((most, key) => Math.max(most, key), -1)
      const at = valid && best > -1 ? own.indexOf(best) : -1
      if (at >= 0) own[at] = -1
      drawn![row * draws + d] = at
    }
  }
  return { drawn: drawn!, keys: keys! }
}
