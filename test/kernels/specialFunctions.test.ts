// Kernels of functions and comparisons for special values, in every lane of a vec4 and in broadcast and strided operands.
import { ACTIVATION, type ActivationOp } from '../../kernels/activation/index.ts'
import { activationFunctions } from '../../kernels/activation/reference.ts'
import { ALGEBRAIC, type AlgebraicOp } from '../../kernels/algebraic/index.ts'
import { algebraicFunctions } from '../../kernels/algebraic/reference.ts'
import { compareProblem, QUESTIONS, type Question, RELATIONS, type Relation } from '../../kernels/compare/index.ts'
import { wordOf } from '../../kernels/copy/fill.ts'
import { EXPONENTIAL, type ExponentialOp, SAVES_RESULT } from '../../kernels/exponential/index.ts'
import { exponentialFunctions } from '../../kernels/exponential/reference.ts'
import type { Elements, FunctionOf } from '../../kernels/functions.ts'
import { PAIRWISE, type PairwiseOp, pairwiseBackwardProblem, pairwiseProblem } from '../../kernels/pairwise/index.ts'
import { TRIGONOMETRIC, type TrigonometricOp } from '../../kernels/trigonometric/index.ts'
import { trigonometricFunctions } from '../../kernels/trigonometric/reference.ts'
import { kernelDevice } from '../harness/device.ts'
import { ELEMENTS, INFINITY, NAN, type SpecialCase, testSpecial } from '../harness/specialValues.ts'
import { suite } from '../harness/suite.ts'

const on = await kernelDevice()
const { test, run } = suite(`special values of functions on ${on.summary.name}`)
const check = (special: SpecialCase) => testSpecial(on, test, special)

// Functions of one operand: the list repeats 4 times, and its length is one less than a multiple of 4.

const count = 4 * ELEMENTS.length - 1
const x = Array.from({ length: count }, (_, i) => ELEMENTS[(i + Math.floor(i / ELEMENTS.length)) % ELEMENTS.length]!)

/** A family of functions; `saves` tells whether the gradient of a function is computed from its result, undefined where there is none. */
function family(
  kernel: string,
  functions: Record<string, FunctionOf<any>>,
  saves: (op: string) => 'input' | 'result' | undefined,
  more: object = {},
) {
  for (const [op, { f }] of Object.entries(functions)) {
    const problem: Elements = { op, count, ...more }
    check({ kernel, name: op, problem, inputs: { x }, outputs: { y: count }, tolerance: 1e-6 })
    const kept = saves(op)
    if (!kept) continue
    const saved = kept === 'input' ? x : x.map((value) => Math.fround(f(value, problem)))
    for (const g of [-3, NAN]) {
      const grad = saved.map(() => g)
      check({
        kernel: `${kernel}Backward`,
        name: `${op} of ${g}`,
        problem,
        inputs: { grad, saved },
        outputs: { out: count },
        tolerance: 1e-6,
      })
    }
  }
}

const inTable = <T extends string>(table: Record<T, number>, functions: Record<T, FunctionOf<any>>) =>
  Object.fromEntries((Object.keys(table) as T[]).map((op) => [op, functions[op]]))

family('algebraic', inTable<AlgebraicOp>(ALGEBRAIC, algebraicFunctions), (op) =>
  op === 'abs' || op === 'square' ? 'input' : op === 'reciprocal' || op === 'rsqrt' ? 'result' : undefined,
)
family('trigonometric', inTable<TrigonometricOp>(TRIGONOMETRIC, trigonometricFunctions), () => 'input')
family('exponential', inTable<ExponentialOp>(EXPONENTIAL, exponentialFunctions), (op) =>
  SAVES_RESULT.has(op as ExponentialOp) ? 'result' : 'input',
)
family('activation', inTable<ActivationOp>(ACTIVATION, activationFunctions), () => 'input', { slope: 0.25 })
for (const [low, high] of [
  [-1, 2],
  [-INFINITY, NAN],
] as const) {
  const limits = { count, low: wordOf(low, 'f32'), high: wordOf(high, 'f32'), dtype: 'f32' as const }
  check({ kernel: 'clamp', name: `${low} to ${high}`, problem: limits, inputs: { x }, outputs: { y: count }, signs: true })
  const grad = x.map(() => INFINITY)
  check({ kernel: 'clampBackward', name: `${low} to ${high}`, problem: limits, inputs: { grad, x }, outputs: { out: count } })
}

// Functions of two operands: every pair of the list.

const n = ELEMENTS.length
const ofPairs = (...strides: number[]) => ({ shape: [n, n], strides, offset: 0 })
const [rows, columns, pairs] = [ofPairs(1, 0), ofPairs(0, 1), ofPairs(n, 1)]
const first = ELEMENTS.flatMap((a) => ELEMENTS.map(() => a))
const second = ELEMENTS.flatMap(() => ELEMENTS)
const outputs = { out: n * n }
for (const op of Object.keys(PAIRWISE) as PairwiseOp[]) {
  const flat = pairwiseProblem(op, 'f32', pairs, pairs)
  check({ kernel: 'pairwise', name: `${op} of pairs`, problem: flat, inputs: { a: first, b: second }, outputs })
  const broadcast = pairwiseProblem(op, 'f32', rows, columns)
  check({ kernel: 'pairwise', name: `${op} broadcast`, problem: broadcast, inputs: { a: ELEMENTS, b: ELEMENTS }, outputs })
  for (const number of [NAN, -INFINITY, -0]) {
    const problem = { op, count, dtype: 'f32', number: wordOf(number, 'f32'), swapped: false }
    check({ kernel: 'pairwiseNumber', name: `${op} ${number}`, problem, inputs: { x }, outputs: { out: count } })
  }
  for (const other of [false, true]) {
    // Squares of the largest numbers overflow in float32 alone, and quotients of many digits are rounded.
    const values = ELEMENTS.map((value) => (Math.abs(value) > 1e15 && value !== INFINITY && value !== -INFINITY ? 7.5 : value))
    const problem = pairwiseBackwardProblem({ op, dtype: 'f32', other }, ofPairs(0, 0), rows, columns)
    const usual = values.map((value) => (Math.abs(value) < 1e-30 ? 0 : value))
    check({
      ...{ kernel: 'pairwiseBackward', name: `${op} by ${other ? 'b' : 'a'}`, problem },
      ...{ inputs: { grad: [1], a: usual, b: usual }, outputs },
    })
  }
}
for (const op of Object.keys(RELATIONS) as Relation[]) {
  const problem = compareProblem(op, 'f32', pairs, pairs)
  check({ kernel: 'compare', name: `${op} of pairs`, problem, inputs: { a: first, b: second }, outputs })
}
check({
  ...{ kernel: 'compare', name: 'le broadcast', problem: compareProblem('le', 'f32', rows, columns) },
  ...{ inputs: { a: ELEMENTS, b: ELEMENTS }, outputs },
})
for (const op of Object.keys(QUESTIONS) as Question[]) {
  const problem = { op, count, dtype: 'f32', number: wordOf(0, 'f32') }
  check({ kernel: 'compareNumber', name: op, problem, inputs: { x }, outputs: { out: count } })
}

test('ends', () => on.device.destroy())
run()
