import type { AxisView } from '../axisView.ts'
import type { Arrays } from '../spec.ts'
import type { Scan } from './scan.ts'

/** Calls `visit` for each line, with the places of its elements in order. */
function forEachLine({ outer, n, inner }: AxisView, visit: (places: number[]) => void): void {
  for (let line = 0; line < outer * inner; line++) {
    const first = Math.floor(line / inner) * n * inner + (line % inner)
    visit(Array.from({ length: n }, (_, k) => first + k * inner))
  }
}

export function cumprodReference(problem: Scan, { x, y }: Arrays): Arrays {
  const times = problem.dtype === 'i32' ? Math.imul : (a: number, b: number) => a * b
  forEachLine(problem, (places) => {
    let product = 1
    for (const at of places) {
      product = times(product, x![at]!)
      y![at] = product
    }
  })
  return { y: y! }
}

export function cumprodBackwardReference(problem: AxisView, { x, grad, dx }: Arrays): Arrays {
  forEachLine(problem, (places) => {
    let before = 1
    for (const at of places) {
      dx![at] = before
      before *= x![at]!
    }
    let [behind, next] = [0, 0]
    for (const at of places.reverse()) {
      behind = grad![at]! + next * behind
      next = x![at]!
      dx![at]! *= behind
    }
  })
  return { dx: dx! }
}

export function cummaxReference(problem: Scan, { x, indices }: Arrays): Arrays {
  forEachLine(problem, (places) => {
    let best = 0
    for (const [k, at] of places.entries()) {
      const [value, most] = [x![at]!, x![places[best]!]!]
      if (Number.isNaN(value) || value >= most) best = k
      indices![at] = best
    }
  })
  return { indices: indices! }
}
