import type { Arrays } from '../spec.ts'
import type { Along, GatherAlong } from './along.ts'
import type { OneHot, Triangle } from './places.ts'
import type { ScatterSum, ScatterTotal } from './sums.ts'

/** Calls `visit` for each index inside, in order, with the place of it in [outer, m, inner] and of its target in [outer, n, inner]. */
function forEachIndex(a: Along, index: Float64Array, visit: (at: number, target: number, j: number) => void): void {
  for (let o = 0; o < a.outer; o++) {
    for (let j = 0; j < a.m; j++) {
      for (let i = 0; i < a.inner; i++) {
        const k = index[a.indexOffset + o * a.indexOuter + j * a.indexStride + i * a.indexInner]!
        if (k >= 0 && k < a.n) visit((o * a.m + j) * a.inner + i, (o * a.n + k) * a.inner + i, j)
      }
    }
  }
}

export function gatherAlongReference(problem: GatherAlong, { x, index, output }: Arrays): Arrays {
  const missing = problem.dtype === 'f16' ? Number.NaN : problem.missing
  output!.fill(missing, 0, problem.outer * problem.m * problem.inner)
  forEachIndex(problem, index!, (at, target) => {
    output![at] = x![target]!
  })
  return { output: output! }
}

export function scatterWinnersReference(problem: Along, { index, winners }: Arrays): Arrays {
  forEachIndex(problem, index!, (_, target, j) => {
    winners![target] = Math.max(winners![target]!, j + 1)
  })
  return { winners: winners! }
}

type Sizes = Pick<Along, 'outer' | 'n' | 'm' | 'inner'>

export function scatterPickReference({ outer, n, m, inner }: Sizes, { x, src, winners, output }: Arrays): Arrays {
  for (let at = 0; at < outer * n * inner; at++) {
    const [o, i, winner] = [Math.floor(at / (n * inner)), at % inner, winners![at]!]
    output![at] = winner > 0 ? src![(o * m + winner - 1) * inner + i]! : x![at]!
  }
  return { output: output! }
}

export function scatterSourceReference(problem: Along, { grad, index, winners, output }: Arrays): Arrays {
  output!.fill(0, 0, problem.outer * problem.m * problem.inner)
  forEachIndex(problem, index!, (at, target, j) => {
    if (winners![target] === j + 1) output![at] = grad![target]!
  })
  return { output: output! }
}

const word = new Uint32Array(1)
const single = new Float32Array(word.buffer)

/** The bits of a float32. */
export function bitsOf(value: number): number {
  single[0] = value
  return word[0]!
}

/** The value of one unit of the fixed point of a target. */
function unitOf(largest: number, shift: number): number {
  return 2 ** (Math.max(largest >>> 23, 1) - 150 - shift)
}

export function scatterLargestReference(problem: Along, { src, index, largest }: Arrays): Arrays {
  forEachIndex(problem, index!, (at, target) => {
    largest![target] = Math.max(largest![target]!, bitsOf(Math.abs(src![at]!)))
  })
  return { largest: largest! }
}

const INFINITE = 0x7f800000

export function scatterSumReference(problem: ScatterSum, { src, index, largest, sums }: Arrays): Arrays {
  const totals = new Map<number, bigint>()
  forEachIndex(problem, index!, (at, target) => {
    const [value, most] = [src![at]!, largest![target]!]
    if (most >= INFINITE) {
      const flag = value === Infinity ? 1 : value === -Infinity ? 2 : 0
      sums![2 * target] = sums![2 * target]! | flag
      return
    }
    const units = Math.abs(value) / unitOf(most, problem.shift)
    const rounded = BigInt(Math.floor(units + (units % 1 === 0 ? 0 : 0.5)))
    totals.set(target, (totals.get(target) ?? 0n) + (value < 0 ? -rounded : rounded))
  })
  for (const [target, total] of totals) {
    const before = BigInt(sums![2 * target]!) | (BigInt(sums![2 * target + 1]!) << 32n)
    const after = BigInt.asUintN(64, before + total)
    sums![2 * target] = Number(after & 0xffffffffn)
    sums![2 * target + 1] = Number(after >> 32n)
  }
  return { sums: sums! }
}

export function scatterTotalReference({ count, shift, add }: ScatterTotal, { x, largest, sums, output }: Arrays): Arrays {
  for (let at = 0; at < count; at++) {
    const [most, low, high] = [largest![at]!, sums![2 * at]!, sums![2 * at + 1]!]
    const total = Number(BigInt.asIntN(64, BigInt(low) | (BigInt(high) << 32n))) * unitOf(most, shift)
    const infinite = low === 3 ? Number.NaN : low === 2 ? -Infinity : Infinity
    const sum = most > INFINITE ? Number.NaN : most === INFINITE ? infinite : Math.fround(total)
    output![at] = add ? x![at]! + sum : sum
  }
  return { output: output! }
}

export function scatterAddIntReference(problem: Along, { src, index, sums }: Arrays): Arrays {
  forEachIndex(problem, index!, (at, target) => {
    sums![target] = (sums![target]! + src![at]!) | 0
  })
  return { sums: sums! }
}

export function triangleReference({ batches, rows, columns, diagonal, lower }: Triangle, { x, output }: Arrays): Arrays {
  for (let at = 0; at < batches * rows * columns; at++) {
    const above = (at % columns) - (Math.floor(at / columns) % rows) - diagonal
    output![at] = (lower ? above <= 0 : above >= 0) ? x![at]! : 0
  }
  return { output: output! }
}

export function oneHotReference({ count, classes }: OneHot, { labels, output }: Arrays): Arrays {
  for (let at = 0; at < count * classes; at++) output![at] = labels![Math.floor(at / classes)] === at % classes ? 1 : 0
  return { output: output! }
}

export function scatterUniqueReference(problem: Along, { src, index, output }: Arrays): Arrays {
  forEachIndex(problem, index!, (at, target) => {
    output![target] = src![at]!
  })
  return { output: output! }
}
