import type { Arrays } from '../spec.ts'
import type { MergeRuns, Order, SelectTop, SortRuns } from './order.ts'

const word = new Uint32Array(1)
const [single, integer] = [new Float32Array(word.buffer), new Int32Array(word.buffer)]

/** The key that orders an element. */
export function keyOf(
  value: number,
  { dtype, descending, nanFirst }: Pick<Order, 'dtype' | 'descending' | 'nanFirst'>,
): number {
  if (dtype === 'f32') {
    if (Number.isNaN(value)) return nanFirst ? 0 : 0xffffffff
    single[0] = Math.abs(value)
    word[0] = value < 0 ? 0x80000000 - word[0]! : 0x80000000 + word[0]!
  } else {
    integer[0] = value
    word[0]! ^= 0x80000000
  }
  return descending ? ~word[0]! >>> 0 : word[0]!
}

type Pair = readonly [key: number, index: number]
const NONE: Pair = [0xffffffff, 0xffffffff]

const byPair = (a: Pair, b: Pair) => a[0] - b[0] || a[1] - b[1]

/** The pairs of a line: from an earlier pass, or made of the elements. */
function pairsOf(problem: Order & { pairs: boolean }, line: number, { x, before }: Arrays): Pair[] {
  const { n, inner, pairs } = problem
  return Array.from({ length: n }, (_, k): Pair => {
    if (pairs) return [before![2 * (line * n + k)]!, before![2 * (line * n + k) + 1]!]
    return [keyOf(x![(Math.floor(line / inner) * n + k) * inner + (line % inner)]!, problem), k]
  })
}

function writePairs(into: Float64Array, first: number, pairs: readonly Pair[]): void {
  for (const [i, [key, index]] of pairs.entries()) {
    into[2 * (first + i)] = key
    into[2 * (first + i) + 1] = index
  }
}

/** Writes the indices of a line of `count` results into [outer, count, inner]. */
function writeIndices(into: Float64Array, line: number, { inner }: { inner: number }, pairs: readonly Pair[]): void {
  for (const [k, [, index]] of pairs.entries()) {
    into[(Math.floor(line / inner) * pairs.length + k) * inner + (line % inner)] = index | 0
  }
}

export function sortRunsReference(problem: SortRuns, arrays: Arrays): Arrays {
  const { outer, n, inner, run, keep, last } = problem
  const { pairs, indices } = arrays as { pairs: Float64Array; indices: Float64Array }
  const runs = Math.ceil(n / run)
  for (let line = 0; line < outer * inner; line++) {
    const all = pairsOf(problem, line, arrays)
    for (let r = 0; r < runs; r++) {
      const sorted = all.slice(r * run, (r + 1) * run).sort(byPair)
      if (last) writeIndices(indices, line, problem, sorted.slice(0, keep))
      else if (keep >= run) writePairs(pairs, line * n + r * run, sorted)
      else {
        const kept = Array.from({ length: keep }, (_, i) => sorted[i] ?? NONE)
        writePairs(pairs, (line * runs + r) * keep, kept)
      }
    }
  }
  return { pairs, indices }
}

export function mergeRunsReference(problem: MergeRuns, arrays: Arrays): Arrays {
  const { outer, n, inner, run, last } = problem
  const { pairs, merged, indices } = arrays as { pairs: Float64Array; merged: Float64Array; indices: Float64Array }
  for (let line = 0; line < outer * inner; line++) {
    const all = Array.from({ length: n }, (_, k): Pair => [pairs[2 * (line * n + k)]!, pairs[2 * (line * n + k) + 1]!])
    const runs = Array.from({ length: Math.ceil(n / (2 * run)) }, (_, r) => all.slice(2 * run * r, 2 * run * (r + 1)))
    const sorted = runs.flatMap((pairs) => pairs.sort(byPair))
    if (last) writeIndices(indices, line, problem, sorted)
    else writePairs(merged, line * n, sorted)
  }
  return { merged, indices }
}

export function selectTopReference(problem: SelectTop, arrays: Arrays): Arrays {
  const { outer, inner, k, chunks, last } = problem
  const { pairs, indices } = arrays as { pairs: Float64Array; indices: Float64Array }
  for (let line = 0; line < outer * inner; line++) {
    const all = pairsOf(problem, line, arrays)
    for (let chunk = 0; chunk < chunks; chunk++) {
      const sorted = all.filter((_, i) => i % chunks === chunk).sort(byPair)
      const kept = Array.from({ length: k }, (_, i) => sorted[i] ?? NONE)
      if (last) writeIndices(indices, line, problem, kept)
      else writePairs(pairs, (line * chunks + chunk) * k, kept)
    }
  }
  return { pairs, indices }
}
