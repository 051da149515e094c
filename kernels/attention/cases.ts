import { fromHalves, toHalves } from '../half.ts'
import { dropoutProblem, streamOf } from '../random/random.ts'
import type { Arrays, Fill, KernelCase } from '../spec.ts'
import type { AttentionProblem, KeyValueGradientProblem, QueryGradientProblem } from './attention.ts'
import type { GradientsProblem } from './gradients.ts'
import { attentionReference, deltaStart, queryGradientReference } from './reference.ts'
import type { AttentionOptions, AttentionShape, RowView } from './shape.ts'

type Problem = AttentionProblem & QueryGradientProblem & KeyValueGradientProblem

/** How operands lie in memory: each as [B, H, T, Dh], or with q, k and v ('packed') or k and v ('cross') side by side in tokens. */
type Layout = 'heads' | 'packed' | 'cross'

/** The size of the scores: ordinary, of the order of ±100, or all equal in every row. */
type Scores = 'normal' | 'large' | 'equal'

/** How a mask lies in memory: one for all heads, the keys of each sequence, or one for each head with queries side by side. */
type MaskLayout = 'queriesByKeys' | 'keys' | 'keysByQueries'

/** Options of a case; `members` heads of queries share the keys of a head. */
interface Options {
  causal?: boolean
  mask?: ['additive' | 'boolean', MaskLayout]
  dropout?: number
  members?: number
}

interface Shape {
  dims: [batch: number, heads: number, queries: number, keys: number, width: number]
  layout?: Layout
  scores?: Scores
  half?: boolean
  options?: Options
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
  // So many heads that a workgroup of `tiled` has one part.
  { dims: [64, 3, 36, 35, 4] },
  { dims: [1, 2, 50, 50, 64], scores: 'large' },
  { dims: [2, 1, 33, 47, 16], scores: 'large', layout: 'cross' },
  { dims: [1, 2, 50, 20, 64], scores: 'equal' },
  { dims: [2, 5, 33, 33, 7], layout: 'packed', half: true },
  { dims: [1, 2, 31, 129, 37], layout: 'cross', half: true },
  { dims: [1, 1, 257, 257, 64], layout: 'packed', half: true },
  { dims: [2, 3, 1, 65, 64], layout: 'cross', half: true },
  { dims: [1, 2, 50, 50, 64], scores: 'large', half: true },
  { dims: [1, 2, 50, 70, 64], options: { causal: true } },
  { dims: [2, 1, 45, 31, 64], layout: 'cross', options: { causal: true } },
  {
    dims: [2, 1, 66, 47, 7],
    options: { causal: true, mask: ['additive', 'queriesByKeys'], dropout: 0.25, members: 2 },
  },
  { dims: [2, 3, 33, 46, 7], layout: 'cross', options: { mask: ['boolean', 'keys'] } },
  { dims: [1, 1, 33, 1025, 7], options: { mask: ['boolean', 'queriesByKeys'], dropout: 0.5 } },
  { dims: [1, 1, 1030, 5, 7], options: { causal: true, mask: ['additive', 'keys'], members: 5 } },
  { dims: [2, 2, 1, 19, 16], options: { mask: ['additive', 'keys'], dropout: 0.1 } },
  {
    dims: [2, 5, 33, 33, 7],
    layout: 'packed',
    half: true,
    options: { causal: true, mask: ['boolean', 'keysByQueries'], dropout: 0.1 },
  },
  { dims: [4, 4, 256, 256, 64], layout: 'packed', bench: true },
  { dims: [4, 4, 256, 256, 64], layout: 'packed', options: { causal: true }, bench: true },
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

/** The options of a problem. */
function optionsOf({ dims: [, heads, queries, keys], options = {} }: Shape): AttentionOptions {
  const { causal, mask: [masks, layout] = [], dropout, members = 1 } = options
  const period = queries / members
  const scores = period * keys
  const views: Record<MaskLayout, [mask: RowView, maskStep: number]> = {
    queriesByKeys: [[2, 0, 0, keys], 1],
    keys: [[1, keys, 0, 0], 1],
    keysByQueries: [[0, heads * members * scores, scores, 1], period],
  }
  const { threshold, scale: keepScale, ...words } = dropoutProblem(0, dropout ?? 0, streamOf(123456789012, 2 ** 33 + 7))
  const { seedLow, seedHigh, streamLow, streamHigh } = words
  return {
    ...(causal && { causal }),
    ...(masks && layout && { masks, mask: views[layout][0], maskStep: views[layout][1] }),
    ...(members > 1 && { period }),
    ...(dropout && { threshold, keepScale, seedLow, seedHigh, streamLow, streamHigh }),
  }
}

function problemOf(of: Shape): Problem {
  const { dims, layout = 'heads', half } = of
  const [batch, heads, queries, keys, width] = dims
  const sizes = { batch, heads, queries, keys, width, scale: width ** -0.5 }
  const shape: AttentionShape = { ...sizes, ...(half && { dtype: 'f16' }), ...optionsOf(of) }
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
    gradients: reach(problem, problem.dv, keys),
    lse: rows,
    delta: rows,
    statistics: deltaStart(problem) + rows,
    mask: maskSize(problem),
  }
}

/** The number of elements from the start of the buffer to the end of the mask, or 1. */
function maskSize({ batch, heads, queries, keys, period = queries, mask, maskStep = 0 }: Problem): number {
  if (!mask) return 1
  const [offset, b, h, t] = mask
  return offset + (batch - 1) * b + ((heads * queries) / period - 1) * h + (period - 1) * t + (keys - 1) * maskStep + 1
}

/** The number of a mask at an index: every query sees key 0, most see no key of the last ones. */
function maskValue({ keys, queries, period = queries, mask, maskStep = 0, masks }: Problem, index: number): number {
  const at = index - mask![0]
  const key = maskStep === 1 ? at % keys : Math.floor(at / period) % keys
  const query = Math.floor(at / (maskStep === 1 ? keys : 1)) % period
  const shown = key === 0 || (key < keys - (query % 9) && (query * 7 + key * 3) % 11 > 2)
  if (masks === 'boolean') return shown ? (index % 3) - 4 : 0
  return shown ? ((index * 7919) % 23) / 8 - 1.25 : -Infinity
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
  arrays.mask = Float64Array.from({ length: sizes.mask! }, (_, i) => (problem.mask ? Math.fround(maskValue(problem, i)) : 0))
  for (const name of ['out', 'lse', 'dq', 'statistics']) arrays[name] = new Float64Array(sizes[name]!)
  attentionReference(problem, arrays)
  arrays.statistics!.set(arrays.lse!)
  queryGradientReference(problem, arrays)
  arrays.delta = arrays.statistics!.slice(deltaStart(problem))
  arrays.statistics!.fill(Number.NaN, deltaStart(problem))
  return arrays
}

/** The options of a case in words. */
function namesOf({ causal, mask, dropout, members }: Options): string[] {
  return [
    ...(causal ? ['causal'] : []),
    ...(mask ? mask : []),
    ...(dropout ? [`dropout ${dropout}`] : []),
    ...(members ? [`${members} heads together`] : []),
  ]
}

function casesFor<P>(
  outputs: readonly string[],
  tolerance: number,
  shapes: readonly Shape[] = SHAPES,
  place = (problem: Problem): Problem => problem,
): KernelCase<P>[] {
  return shapes.map((shape) => {
    const { dims, layout = 'heads', scores = 'normal', half = false, bench = false, options = {} } = shape
    const problem = place(problemOf(shape))
    const sizes = sizesOf(problem)
    let arrays: Arrays | undefined
    const fill =
      (name: string): Fill =>
      (index) => {
        arrays ??= operands(problem, sizes, scores)
        return arrays[name]![index]!
      }
    const inputs = ['q', 'k', 'v', 'out', 'dOut', 'lse', 'delta', 'statistics', 'mask'].filter(
      (name) => !outputs.includes(name),
    )
    // The log-sum-exps in the statistics are read.
    const timed: KernelCase['fills'] = { statistics: (index, random) => (index < deltaStart(problem) ? random() : Number.NaN) }
    return {
      name: [`[${dims}]`, layout, scores, ...(half ? ['f16'] : []), ...namesOf(options)].join(' '),
      problem: problem as P,
      sizes,
      fills: bench ? timed : Object.fromEntries(inputs.map((name) => [name, fill(name)])),
      tolerance: half ? 1e-3 : tolerance,
      bench,
    }
  })
}

export const attentionCases = casesFor<AttentionProblem>(['out', 'lse'], 1e-5)
export const queryGradientCases = casesFor<QueryGradientProblem>(['dq'], 1e-4)
export const keyValueGradientCases = casesFor<KeyValueGradientProblem>(['dkv'], 1e-4)

/** The same problem with the gradients of keys and values behind those of the queries in one buffer, where they are not packed. */
function together(problem: Problem): Problem {
  const { dq, dk, dv } = problem
  if (dk[3] === 3 * problem.heads * problem.width) return problem
  const start = reach(problem, dq, problem.queries) + 2
  const behind = ([offset, ...strides]: RowView): RowView => [start + offset, ...strides]
  return { ...problem, dk: behind(dk), dv: behind(dv) }
}

const plain = SHAPES.filter(({ half, options }) => !half && !options)

export const gradientsCases = casesFor<GradientsProblem>(['gradients'], 1e-4, plain, together)
