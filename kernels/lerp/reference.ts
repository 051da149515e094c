import { forEachElement } from '../layout.ts'
import type { Arrays } from '../spec.ts'
import type { Lerp } from './lerp.ts'

export function lerpReference(problem: Lerp, { a, b, weight, out }: Arrays): Arrays {
  forEachElement(problem, (i, [atA, atB, atWeight]) => {
    out![i] = a![atA!]! + weight![atWeight!]! * (b![atB!]! - a![atA!]!)
  })
  return { out: out! }
}
