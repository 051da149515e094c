import { fromHalves, toHalves } from '../half.ts'
import type { Arrays, Fill, KernelCase } from '../spec.ts'
import type { AttentionProblem, KeyValueGradientProblem, QueryGradientProblem } from './attention.ts'
import { attentionReference, queryGradientReference } from './reference.ts'
import type { AttentionShape, RowView } from './variants.ts'

type Problem = AttentionProblem & QueryGradientProblem & KeyValueGradientProblem

/** How operands lie in memory: each as [B, H, T, Dh], or with q, k and v ('packed') or k and v ('cross') side by side in tokens. */
type Layout = 'heads' | 'packed' | 'cross'

/** The size of the scores: ordinary, of the order of ±100, or all equal in every row. */
type Scores = 'normal' | 'large' | 'equal'

interface Shape {
  dims: [batch: number, heads: number, queries: number, keys: number, width: number]
  layout?: Layout
  scores?: Scores
  half?: boolean
  bench?: boolean
}

const SHAPES: readonly Shape[] = [
  { dims: [1, 1, 1, 1, 1] },
  { dims: [2, 5, 33, 33, 7], layout: 'packed' },
  { dims: [3, 2, 17, 17, 16], layout: 'packed' },
  { dims: [1, 2, 31, 129, 37], layout: 'cross' },
  { dims: [1, 1, 257, 257, 64], layout: 'packed' },
  { dims: [2, 3, 1, 65, 64], layout: 'cross' },
  { dims: [2, 2, 7, 1, 16] },
  { dims: [1, 1, 33, 1025, 7] },
  { dims: [1, 1, 1025, 5, 7] },
  { dims: [1, 1, 10, 12, 260] },
  { dims: [1, 2, 50, 50, 64], scores: 'large' },
  { dims: [2, 1, 33, 47, 16], scores: 'large', layout: 'cross' },
  { dims: [1, 2, 50, 20, 64], scores: 'equal' },
  { dims: [2, 5, 33, 33, 7], layout: 'packed', half: true },
  { dims: [1, 2, 31, 129, 37], layout: 'cross', half: true },
  { dims: [1, 1, 257, 257, 64], layout: 'packed', half: true },
  { dims: [2, 3, 1, 65, 64], layout: 'cross', half: true },
  { dims: [1, 2, 50, 50, 64], scores: 'large', half: true },
  { dims: [4, 4, 256, 256, 64], layout: 'packed', bench: true },
  { dims: [64, 3, 197, 197, 64], layout: 'packed', bench: true },
  { dims: [64, 3, 197, 197, 64], layout: 'packed', half: true, bench: true },
  { dims: [64, 3, 1, 197, 64], layout: 'cross', bench: true },
  { dims: [64, 4, 65, 65, 32], layout: 'packed', bench: true },
  { dims: [64, 2, 17, 17, 16], layout: 'packed', bench: true },
]

/** The view of one block of [B, T, blocks, H, Dh]. Where `blocks` is 0, it is a view of [B, H, T, Dh] that begins at element `block`. */
function view([, heads, , , width]: Shape['dims'], tokens: number, blocks: number, block: number): RowView {
  if (blocks === 0) return [block, heads * tokens * width, tokens * width, width]
  const token = blocks * heads * width
  return [block * heads * width, tokens * token, width, token]
}

function problemOf({ dims, layout = 'heads', half }: Shape): Problem {
  const [batch, heads, queries, keys, width] = dims
  const shape: AttentionShape = { batch, heads, queries, keys, width, scale: width ** -0.5, ...(half ? { dtype: 'f16' } : {}) }
  if (layout === 'heads') {
    // The offsets have no alignment, and dv follows dk in one buffer.
    const ofQueries = view(dims, queries, 0, 3)
    const ofKeys = view(dims, keys, 0, 5)
    const dv = view(dims, keys, 0, 5 + batch * heads * keys * width)
    return {
      ...shape,
      ...{ q: ofQueries, out: ofQueries, dOut: ofQueries, dq: ofQueries },
      ...{ k: ofKeys, v: ofKeys, dk: ofKeys, dv },
    }
  }
  const qBlocks = layout === 'packed' ? 3 : 1
  const kBlocks = layout === 'packed' ? 3 : 2
  const q = view(dims, queries, qBlocks, 0)
  const k = view(dims, keys, kBlocks, kBlocks - 2)
  const v = view(dims, keys, kBlocks, kBlocks - 1)
  const out = view(dims, queries, 1, 0)
  return { ...shape, q, k, v, out, dOut: out, dq: q, dk: k, dv: v }
}

/** The number of elements from the start of the buffer to the end of a view. */
function reach({ batch, heads, width }: AttentionShape, [offset, b, h, t]: RowView, tokens: number): number {
  return offset + (batch - 1) * b + (heads - 1) * h + (tokens - 1) * t + width
}

function sizesOf(problem: Problem): Record<string, number> {
  const { batch, heads, queries, keys } = problem
  const rows = batch * heads * queries
  return {
    q: reach(problem, problem.q, queries),
    k: reach(problem, problem.k, keys),
    v: reach(problem, problem.v, keys),
    out: reach(problem, problem.out, queries),
    dOut: reach(problem, problem.dOut, queries),
    dq: reach(problem, problem.dq, queries),
    dkv: reach(problem, problem.dv, keys),
    lse: rows,
    delta: rows,
  }
}

/** Returns the normal numbers of a seed, so that every operand of a case is known before the case runs. */
function normals(size: number, seed: number): Float64Array {
  let state = seed
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 1) / 0x100000001
  }
  return Float64Array.from({ length: size }, () =>
    Math.fround(Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random())),
  )
}

/** The inputs of all three kernels; out, lse and delta are computed from q, k, v and dOut. */
function operands(problem: Problem, sizes: Record<string, number>, scores: Scores): Arrays {
  const rounded = (values: Float64Array) => (problem.dtype ? Float64Array.from(fromHalves(toHalves(values))) : values)
  const factor = scores === 'large' ? 10 : 1
  const arrays: Arrays = {}
  for (const [i, name] of ['q', 'k', 'v', 'dOut'].entries()) {
    arrays[name] = rounded(normals(sizes[name]!, i + 1).map((x) => (i < 2 ? factor * x : x)))
  }
  if (scores === 'equal') {
    // Only the first element of a query is not 0, and that of all keys is the same: every score is 100.
    const at = (view: RowView, index: number) => (index - view[0]) % problem.width
    arrays.q = arrays.q!.map((_, i) => (at(problem.q, i) === 0 ? 10 : 0))
    arrays.k = arrays.k!.map((x, i) => (at(problem.k, i) === 0 ? 10 / problem.scale : x))
  }
  for (const name of ['out', 'lse', 'dq', 'delta']) arrays[name] = new Float64Array(sizes[name]!)
  attentionReference(problem, arrays)
  queryGradientReference(problem, arrays)
  return arrays
}

function casesFor<P>(outputs: readonly string[], tolerance: number): KernelCase<P>[] {
  return SHAPES.map((shape) => {
    const { dims, layout = 'heads', scores = 'normal', half = false, bench = false } = shape
    const problem = problemOf(shape)
    const sizes = sizesOf(problem)
    let arrays: Arrays | undefined
    const fill =
      (name: string): Fill =>
      (index) => {
        arrays ??= operands(problem, sizes, scores)
        return arrays[name]![index]!
      }
    const inputs = ['q', 'k', 'v', 'out', 'dOut', 'lse', 'delta'].filter((name) => !outputs.includes(name))
    return {
      name: `[${dims}] ${layout} ${scores}${half ? ' f16' : ''}`,
      problem: problem as P,
      sizes,
      fills: bench ? {} : Object.fromEntries(inputs.map((name) => [name, fill(name)])),
      tolerance: half ? 1e-3 : tolerance,
      bench,
    }
  })
}

export const attentionCases = casesFor<AttentionProblem>(['out', 'lse'], 1e-5)
export const queryGradientCases = casesFor<QueryGradientProblem>(['dq', 'delta'], 1e-4)
export const keyValueGradientCases = casesFor<KeyValueGradientProblem>(['dkv'], 1e-4)
