import { outputs } from '../reduce/reduction.ts'
import type { Arrays } from '../spec.ts'
import { FOLD_FLAGS, type Fold, type FoldBackward, type FoldCombine, type FoldResult, hasExtras } from './fold.ts'

/** The state to which a list of elements is reduced: see `State` in the WGSL. */
type State = readonly [n: number, x: number, y: number]

const HIGHEST = 3.4028234663852886e38

function stateOf(values: readonly number[], { op, dtype }: FoldResult): State {
  const n = values.length
  const sum = (f: (value: number) => number) => values.reduce((total, value) => total + f(value), 0)
  switch (op) {
    case 'norm':
      return [n, sum((value) => value * value), 0]
    case 'moments': {
      const mean = sum((value) => value) / n
      return [n, mean, sum((value) => (value - mean) ** 2)]
    }
    case 'logsumexp': {
      const largest = Math.max(-HIGHEST, ...values.filter((value) => !Number.isNaN(value)))
      const point = Math.min(largest, HIGHEST)
      return [n, point, sum((value) => Math.exp(value - point))]
    }
    case 'prod': {
      const zeros = Math.min(2, values.filter((value) => value === 0).length)
      const odd = values.every(Number.isFinite) ? 0 : 4
      const times = dtype === 'i32' ? Math.imul : (a: number, b: number) => a * b
      return [n, values.reduce((product, value) => (value === 0 ? product : times(product, value)), 1), zeros + odd]
    }
    case 'any':
      return [n, values.some((value) => value !== 0) ? 1 : 0, 0]
    case 'all':
      return [n, values.every((value) => value !== 0) ? 1 : 0, 0]
  }
}

function merged(a: State, b: State, { op }: FoldResult): State {
  const n = a[0] + b[0]
  switch (op) {
    case 'norm':
      return [n, a[1] + b[1], 0]
    case 'moments': {
      const delta = b[1] - a[1]
      return [n, a[1] + (delta * b[0]) / n, a[2] + b[2] + (delta * delta * a[0] * b[0]) / n]
    }
    case 'logsumexp': {
      const largest = Math.max(a[1], b[1])
      return [n, largest, a[2] * Math.exp(a[1] - largest) + b[2] * Math.exp(b[1] - largest)]
    }
    case 'prod':
      return [n, a[1] * b[1], Math.min(2, (a[2] & 3) + (b[2] & 3)) | ((a[2] | b[2]) & 4)]
    case 'any':
      return [n, Math.max(a[1], b[1]), 0]
    case 'all':
      return [n, Math.min(a[1], b[1]), 0]
  }
}

/** The result, and what the gradient needs besides. */
function finished([, x, y]: State, { op, scale, flags }: FoldResult): [value: number, extra: number] {
  switch (op) {
    case 'norm':
      return [Math.sqrt(x), 0]
    case 'moments': {
      const infinite = y > 0 && y < Infinity ? Infinity : Number.NaN
      const variance = flags & FOLD_FLAGS.degenerate ? infinite : y * scale
      return [flags & FOLD_FLAGS.root ? Math.sqrt(variance) : variance, x]
    }
    case 'logsumexp':
      return [x + Math.log(y), 0]
    case 'prod': {
      return [y > 4 ? Number.NaN : y > 0 ? 0 : x, (y & 3) > 1 ? 0 : x]
    }
    default:
      return [x, 0]
  }
}

export function foldReference(problem: Fold, { input, values, extras }: Arrays): Arrays {
  const lists = Array.from({ length: outputs(problem) }, () => [] as number[])
  const { outer, n, inner, chunk, chunks, offset, outerStride, nStride, innerStride } = problem
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < n; k++) {
      for (let i = 0; i < inner; i++) {
        const list = lists[(o * chunks + Math.floor(k / chunk)) * inner + i]!
        list.push(input![offset + o * outerStride + k * nStride + i * innerStride]!)
      }
    }
  }
  const partial = (problem.flags & FOLD_FLAGS.partial) !== 0
  const keeps = partial || hasExtras(problem)
  for (const [at, list] of lists.entries()) {
    const state = stateOf(list, problem)
    const [value, extra] = partial ? [state[1], state[2]] : finished(state, problem)
    values![at] = value
    if (keeps) extras![at] = extra
  }
  return { values: values!, extras: extras! }
}

export function foldCombineReference(problem: FoldCombine, { pieceValues, pieceExtras, values, extras }: Arrays): Arrays {
  const { outer, n, inner, chunk, chunks, group, flags } = problem
  const partial = (flags & FOLD_FLAGS.partial) !== 0
  const made = Math.ceil(chunks / group)
  for (let at = 0; at < outer * made * inner; at++) {
    const [row, first] = [Math.floor(at / inner / made), (Math.floor(at / inner) % made) * group]
    const states = Array.from({ length: Math.min(group, chunks - first) }, (_, c): State => {
      const from = (row * chunks + first + c) * inner + (at % inner)
      return [Math.min(chunk, n - (first + c) * chunk), pieceValues![from]!, pieceExtras![from]!]
    })
    const state = states.reduce((a, b) => merged(a, b, problem))
    const [value, extra] = partial ? [state[1], state[2]] : finished(state, problem)
    values![at] = value
    if (partial || hasExtras(problem)) extras![at] = extra
  }
  return { values: values!, extras: extras! }
}

export function foldBackwardReference(problem: FoldBackward, { x, values, extras, grad, dx }: Arrays): Arrays {
  const { outer, n, inner, op, scale, root } = problem
  const quotient = (a: number, b: number) => (b === 0 ? 0 : a / b)
  for (let at = 0; at < outer * n * inner; at++) {
    const line = Math.floor(at / (n * inner)) * inner + (at % inner)
    const [value, result, extra, g] = [x![at]!, values![line]!, extras![line]!, grad![line]!]
    if (op === 'norm') dx![at] = value * quotient(g, result)
    else if (op === 'moments') dx![at] = (value - extra) * (root ? quotient(g * scale, result) : g * scale)
    else if (op === 'logsumexp') dx![at] = Math.exp(value - result) * g
    else dx![at] = (value === 0 ? extra : result / value) * g
  }
  return { dx: dx! }
}
