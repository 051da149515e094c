import type { AxisView } from '../axisView.ts'
import type { Arrays } from '../spec.ts'
import type { MaxCombine } from './max.ts'
import { outputs, type Reduction } from './reduction.ts'
import type { Sum } from './sum.ts'

/** Calls `visit` with the output's index, the input's index and the index along the axis. Elements of a piece come in order. */
function forEach(r: Reduction, visit: (output: number, input: number, k: number) => void): void {
  for (let o = 0; o < r.outer; o++) {
    for (let k = 0; k < r.n; k++) {
      const piece = o * r.chunks + Math.floor(k / r.chunk)
      for (let i = 0; i < r.inner; i++) {
        visit(piece * r.inner + i, r.offset + o * r.outerStride + k * r.nStride + i * r.innerStride, k)
      }
    }
  }
}

export function sumReference(problem: Sum, { input }: Arrays): Arrays {
  const output = new Float64Array(outputs(problem))
  forEach(problem, (at, from) => {
    output[at]! += input![from]!
  })
  return { output: output.map((value) => value * problem.scale) }
}

export function sumIntReference(problem: Sum, { input }: Arrays): Arrays {
  const output = new Int32Array(outputs(problem))
  forEach(problem, (at, from) => {
    output[at]! += input![from]!
  })
  return { output: Float64Array.from(output) }
}

/** Whether a value replaces the maximum so far. NaN counts as larger than every number. */
function isAbove(value: number, best: number): boolean {
  return value > best || (Number.isNaN(value) && !Number.isNaN(best))
}

const negated = (values: Float64Array): Float64Array => values.map((value) => -value)

/** The minimum is that of the negated elements, negated. */
export function minReference(problem: Reduction, { input }: Arrays): Arrays {
  const { values, indices } = maxReference(problem, { input: negated(input!) }) as {
    values: Float64Array
    indices: Float64Array
  }
  return { values: negated(values), indices }
}

export function minCombineReference(problem: MaxCombine, { pieceValues, pieceIndices }: Arrays): Arrays {
  const found = maxCombineReference(problem, { pieceValues: negated(pieceValues!), pieceIndices: pieceIndices! })
  return { values: negated(found.values!), indices: found.indices! }
}

export function maxReference(problem: Reduction, { input }: Arrays): Arrays {
  const values = new Float64Array(outputs(problem)).fill(-Infinity)
  const indices = new Float64Array(outputs(problem))
  forEach(problem, (at, from, k) => {
    if (k % problem.chunk === 0 || isAbove(input![from]!, values[at]!)) {
      values[at] = input![from]!
      indices[at] = k
    }
  })
  return { values, indices }
}

export function maxCombineReference({ outer, chunks, inner }: MaxCombine, { pieceValues, pieceIndices }: Arrays): Arrays {
  const values = new Float64Array(outer * inner).fill(-Infinity)
  const indices = new Float64Array(outer * inner)
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < chunks; c++) {
      for (let i = 0; i < inner; i++) {
        const from = (o * chunks + c) * inner + i
        if (c === 0 || isAbove(pieceValues![from]!, values[o * inner + i]!)) {
          values[o * inner + i] = pieceValues![from]!
          indices[o * inner + i] = pieceIndices![from]!
        }
      }
    }
  }
  return { values, indices }
}

export function maxBackwardReference({ outer, n, inner }: AxisView, { indices, gradOutput }: Arrays): Arrays {
  const gradInput = new Float64Array(outer * n * inner)
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      gradInput[(o * n + indices![o * inner + i]!) * inner + i] = gradOutput![o * inner + i]!
    }
  }
  return { gradInput }
}
