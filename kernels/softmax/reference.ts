import type { AxisView } from '../axisView.ts'
import type { Arrays } from '../spec.ts'
import type { SoftmaxProblem } from './softmax.ts'

/** Calls `visit` with the indices of each line's elements. */
function forEachLine({ outer, n, inner }: AxisView, visit: (indices: number[]) => void): void {
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) visit(Array.from({ length: n }, (_, j) => (o * n + j) * inner + i))
  }
}

/** y of softmax or logSoftmax in float64. */
export function softmaxReference(problem: SoftmaxProblem, { x, y }: Arrays): Arrays {
  forEachLine(problem, (indices) => {
    const largest = indices.reduce((most, i) => Math.max(most, x![i]!), -Infinity)
    const sum = indices.reduce((total, i) => total + Math.exp(x![i]! - largest), 0)
    for (const i of indices) {
      y![i] = problem.log ? x![i]! - largest - Math.log(sum) : Math.exp(x![i]! - largest) / sum
    }
  })
  return { y: y! }
}

/** dx of softmax or logSoftmax in float64. */
export function softmaxBackwardReference(problem: SoftmaxProblem, { y, dy, dx }: Arrays): Arrays {
  forEachLine(problem, (indices) => {
    const sum = indices.reduce((total, i) => total + (problem.log ? 1 : y![i]!) * dy![i]!, 0)
    for (const i of indices) {
      dx![i] = problem.log ? dy![i]! - Math.exp(y![i]!) * sum : y![i]! * (dy![i]! - sum)
    }
  })
  return { dx: dx! }
}
