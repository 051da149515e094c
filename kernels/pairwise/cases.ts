import { wordOf } from '../copy/fill.ts'
import { awayFromZero, divisors, integers, large } from '../elementwise/cases.ts'
import { AB, broadcast, GRAD_AB, nestCase, PAIRS, type Pair, pair } from '../elementwise/pairs.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { Pairwise, PairwiseBackward, PairwiseNumber, PairwiseOp, PairwiseType } from './pairwise.ts'
import { PAIRWISE, pairwiseBackwardProblem, pairwiseProblem } from './pairwise.ts'

const ops = Object.keys(PAIRWISE) as PairwiseOp[]
/** Numbers with many ties. */
const few: Fill = (_, random) => Math.floor(7 * random()) - 3
const MILLION = 1_000_000

type Fills = Record<string, Fill>

function pairwiseCase(op: PairwiseOp, operands: Pair, fills: Fills, dtype: PairwiseType = 'f32'): KernelCase<Pairwise> {
  const name = `${op}, ${operands.name}, ${dtype}`
  return nestCase(name, AB, pairwiseProblem(op, dtype, operands.a, operands.b), {
    fills,
    ...(op !== 'atan2' && dtype === 'f32' && { tolerance: 1e-7 }),
  })
}

const rows = pair([3, 1025], [3, 1025], [1025])
const list = pair([1025], [1025], [1025])

export const pairwiseCases: KernelCase<Pairwise>[] = [
  ...PAIRS.map((operands) => pairwiseCase('remainder', operands, { b: awayFromZero })),
  ...(['minimum', 'maximum', 'atan2'] as const).map((op) => pairwiseCase(op, rows, { a: large, b: large })),
  pairwiseCase('remainder', list, { a: large, b: large }),
  pairwiseCase(
    'remainder',
    { ...list, name: 'whole numbers' },
    { a: (_, random) => Math.floor(2e7 * (random() - 0.5)), b: divisors },
  ),
  pairwiseCase('atan2', list, {}),
  ...ops.map((op) => pairwiseCase(op, rows, { b: awayFromZero }, 'f16')),
  ...(['minimum', 'maximum'] as const).map((op) => pairwiseCase(op, rows, { a: integers, b: integers }, 'i32')),
  pairwiseCase('remainder', rows, { a: integers, b: divisors }, 'i32'),
  pairwiseCase('remainder', pair([37], [37], []), { a: integers, b: () => 0 }, 'i32'),
  { ...pairwiseCase('maximum', pair([MILLION], [MILLION], [MILLION]), {}), bench: true },
  { ...pairwiseCase('remainder', pair([MILLION], [MILLION], [MILLION]), {}), bench: true },
]

function numberCase(op: PairwiseOp, number: number, swapped: boolean, x: Fill, dtype: PairwiseType, count = 1025) {
  const word = wordOf(number, dtype === 'i32' ? 'i32' : 'f32')
  return {
    name: `${op}, ${swapped ? `${number} and x` : `x and ${number}`}, ${count}, ${dtype}`,
    problem: { op, dtype, count, number: word, swapped },
    sizes: { x: count, out: count },
    fills: { x },
  } satisfies KernelCase<PairwiseNumber>
}

export const pairwiseNumberCases: KernelCase<PairwiseNumber>[] = [
  ...ops.flatMap((op) => [numberCase(op, 0.75, false, awayFromZero, 'f32'), numberCase(op, -1.5, true, awayFromZero, 'f32')]),
  ...[1, 3, 4, 36].map((count) => numberCase('maximum', 0.25, false, 'normal', 'f32', count)),
  numberCase('remainder', 0.75, false, awayFromZero, 'f16'),
  numberCase('remainder', -7, false, integers, 'i32'),
  numberCase('maximum', -7, true, few, 'i32'),
  { ...numberCase('maximum', 0, false, 'normal', 'f32', MILLION), bench: true },
]

function backwardCase(
  op: PairwiseOp,
  other: boolean,
  { name, a, b }: Pair,
  fills: Fills,
  dtype: 'f32' | 'f16' = 'f32',
): KernelCase<PairwiseBackward> {
  const problem = pairwiseBackwardProblem({ op, dtype, other }, broadcast(a.shape, a.shape), a, b)
  return nestCase(`${op} by ${other ? 'b' : 'a'}, ${name}, ${dtype}`, GRAD_AB, problem, { fills })
}

export const pairwiseBackwardCases: KernelCase<PairwiseBackward>[] = [
  ...PAIRS.slice(-12).map((operands) => backwardCase('maximum', false, operands, { a: few, b: few })),
  ...ops.flatMap((op) =>
    [false, true].map((other) =>
      backwardCase(op, other, rows, op === 'remainder' || op === 'atan2' ? { b: awayFromZero } : { a: few, b: few }),
    ),
  ),
  backwardCase('atan2', true, { ...list, name: 'large and small' }, { a: large, b: large }),
  backwardCase('remainder', true, { ...list, name: 'halves' }, { a: (_, random) => few(_, random) + 0.5, b: divisors }),
  backwardCase('minimum', true, rows, { a: few, b: few }, 'f16'),
  { ...backwardCase('maximum', false, pair([MILLION], [MILLION], [MILLION]), {}), bench: true },
]
