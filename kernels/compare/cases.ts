import { wordOf } from '../copy/fill.ts'
import { AB, nestCase, PAIRS, type Pair, pair } from '../elementwise/pairs.ts'
import type { Fill, KernelCase } from '../spec.ts'
import {
  type Compare,
  type ComparedType,
  type CompareNumber,
  compareProblem,
  QUESTIONS,
  type Question,
  RELATIONS,
  type Relation,
} from './compare.ts'

/** Numbers with many ties and zeros. */
const few: Fill = (_, random) => Math.floor(5 * random()) - 2
const fills = { a: few, b: few }
const rows = pair([3, 1025], [3, 1025], [1025])
const MILLION = 1_000_000

function compareCase(op: Relation, { name, a, b }: Pair, dtype: ComparedType = 'f32'): KernelCase<Compare> {
  return nestCase(`${op}, ${name}, ${dtype}`, AB, compareProblem(op, dtype, a, b), { fills })
}

export const compareCases: KernelCase<Compare>[] = [
  ...PAIRS.map((operands) => compareCase('lt', operands)),
  ...(Object.keys(RELATIONS) as Relation[]).map((op) => compareCase(op, rows)),
  ...(['eq', 'le', 'and'] as const).flatMap((op) => [compareCase(op, rows, 'f16'), compareCase(op, rows, 'i32')]),
  { ...compareCase('lt', pair([MILLION], [MILLION], [MILLION])), bench: true },
]

function numberCase(op: Question, dtype: ComparedType, count = 1025, number = 1): KernelCase<CompareNumber> {
  return {
    name: `${op} ${number}, ${count}, ${dtype}`,
    problem: { op, dtype, count, number: wordOf(number, dtype === 'i32' ? 'i32' : 'f32') },
    sizes: { x: count, out: count },
    fills: { x: few },
  }
}

const questions = Object.keys(QUESTIONS) as Question[]

export const compareNumberCases: KernelCase<CompareNumber>[] = [
  ...questions.map((op) => numberCase(op, 'f32')),
  ...[1, 2, 3, 4, 36].map((count) => numberCase('lt', 'f32', count)),
  numberCase('ge', 'f16', 1025, -1),
  numberCase('eq', 'i32', 1025, -1),
  numberCase('isFinite', 'i32'),
  { ...numberCase('gt', 'f32', MILLION), bench: true },
]
