import { forEachElement } from '../layout.ts'
import { numberOf } from '../pairwise/reference.ts'
import type { Arrays } from '../spec.ts'
import type { Compare, CompareNumber, Question, Relation } from './compare.ts'

const relations: Record<Relation | Question, (a: number, b: number) => boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
  and: (a, b) => a !== 0 && b !== 0,
  or: (a, b) => a !== 0 || b !== 0,
  isNaN: Number.isNaN,
  isFinite: Number.isFinite,
}

export function compareReference(problem: Compare, { a, b, out }: Arrays): Arrays {
  forEachElement(problem, (i, [atA, atB]) => {
    out![i] = Number(relations[problem.op](a![atA!]!, b![atB!]!))
  })
  return { out: out! }
}

export function compareNumberReference({ op, number, dtype }: CompareNumber, { x }: Arrays): Arrays {
  const s = numberOf(number, dtype)
  return { out: x!.map((value) => Number(relations[op](value, s))) }
}
