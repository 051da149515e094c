import { fromHalf, toHalf } from '../half.ts'
import { forEachElement } from '../layout.ts'
import type { Arrays } from '../spec.ts'
import type { Copy } from './copy.ts'
import type { Arange, FillProblem } from './fill.ts'
import type { Pad } from './pad.ts'

export function copyReference(problem: Copy, { source, out }: Arrays): Arrays {
  const convert = problem.to === 'f16' ? (value: number) => fromHalf(toHalf(value)) : (value: number) => value
  forEachElement(problem, (_, [from, to]) => {
    out![to!] = convert(source![from!]!)
  })
  return { out: out! }
}

export function fillReference({ word }: FillProblem, { y }: Arrays): Arrays {
  return { y: y!.fill(word) }
}

export function arangeReference({ start, step }: Arange, { y }: Arrays): Arrays {
  return { y: y!.map((_, i) => Math.fround(start) + i * Math.fround(step)) }
}

export function arangeWholeReference({ start, step }: Arange, { y }: Arrays): Arrays {
  return { y: y!.map((_, i) => start + i * step) }
}

export function padReference(p: Pad, { source, out }: Arrays): Arrays {
  for (let row = 0; row < p.rows; row++) {
    let from: number | undefined = p.sourceOffset
    for (let d = p.dims.length - 1, rest = row; d >= 0; rest = Math.floor(rest / p.dims[d]!), d--) {
      const at = rest % p.dims[d]!
      if (at < p.begin[d]! || at >= p.end[d]!) from = undefined
      if (from !== undefined) from += (at - p.begin[d]!) * p.sourceStrides[d]!
    }
    for (let i = 0; i < p.inner; i++) {
      const inside = from !== undefined && i >= p.start && i < p.stop
      out![row * p.inner + i] = inside ? source![from! + (i - p.start) * p.sourceStep]! : 0
    }
  }
  return { out: out! }
}
