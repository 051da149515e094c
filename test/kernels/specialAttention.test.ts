// Attention and its gradients for special values in queries, keys, values and gradients. Each scenario is a sequence of its
// own, whose number of tokens is no multiple of any tile.
import type { AttentionShape, RowView } from '../../kernels/attention/index.ts'
import { attentionReference, deltaStart, queryGradientReference } from '../../kernels/attention/reference.ts'
import type { Arrays } from '../../kernels/spec.ts'
import { backward, type Operand, SCENARIOS, type Scenario, scores, sequences, T, W } from '../harness/attentionScenarios.ts'
import { kernelDevice } from '../harness/device.ts'
import { INFINITY, NAN, type SpecialCase, testSpecial } from '../harness/specialValues.ts'
import { quick, suite } from '../harness/suite.ts'

const on = await kernelDevice()
const { test, slow, run } = suite(`special values of attention on ${on.summary.name}`)
const check = (special: SpecialCase, register = test) => testSpecial(on, register, { slow: true, ...special })

/** Largest score: kernels compute with scores times log2 e, which must stay below the highest float32. */
const EDGE = 2.358e38

/**
 * Scenarios with equal scores at both ends of the range. They are for the forward kernel only, since gradients overflow there.
 */
const EDGES: readonly Scenario[] = [
  scores(() => -EDGE),
  scores(() => EDGE),
  scores((key) => (key % 2 === 0 ? -EDGE : EDGE)),
  scores((key) => (key === T - 1 ? -EDGE : -INFINITY)),
]

/** Checks the forward kernel. */
function checkForward(width: number, variant?: string): void {
  const { problem, operands, size, rows } = sequences([...SCENARIOS, ...EDGES], width)
  const { q, k, v } = operands
  const [inputs, outputs] = [
    { q, k, v, mask: [0] },
    { out: size, lse: rows },
  ]
  check({ kernel: 'attention', name: 'scenarios', problem, inputs, outputs, tolerance: 1e-5, ...(variant && { variant }) })
}

/** Checks the kernel for all gradients. */
function checkGradients({ problem, size, ofQueries }: ReturnType<typeof backward>, variant: string): void {
  const { mask: _, ...inputs } = ofQueries
  const { dv } = problem
  const behindQueries = { dk: dv, dv: [2 * size, ...dv.slice(1)] }
  const outputs = { gradients: 3 * size }
  const together = { ...problem, ...behindQueries }
  check({ kernel: 'attentionGradients', name: 'scenarios', problem: together, inputs, outputs, tolerance: 1e-3, variant })
}

checkForward(W)
// Rows in aligned fours.
checkForward(W + 1, 'broadcast')
// So wide that a lane owns two sets, whose block holds fewer keys than there are.
checkForward(100, 'ownedKeys')
const given = backward(W)
const { problem, size, operands, ofQueries, lse, delta } = given
const { q, k, v, dOut } = operands
const name = 'scenarios'
check({ kernel: 'attentionQueryGradient', name, problem, inputs: ofQueries, outputs: { dq: size }, tolerance: 1e-3 })
const ofKeys = { q, k, v, dOut, lse, delta, mask: [0] }
check({ kernel: 'attentionKeyValueGradient', name, problem, inputs: ofKeys, outputs: { dkv: 2 * size }, tolerance: 1e-3 })
checkGradients(given, 'subgroup')
checkGradients(backward(W + 1), 'broadcast')
checkGradients(backward(W + 1), 'ownedQueries')

/** A scenario with what its mask holds for a query and a key; -Infinity hides. */
type Masked = [scenario: Scenario, mask: (query: number, key: number) => number]

/** Sets all elements of a row, or one. */
function spoil(operand: Operand, token: number, value: number, d?: number): Scenario {
  return (row) => {
    if (d === undefined) row(operand, token).fill(value)
    else row(operand, token)[d] = value
  }
}

const hide = (hidden: boolean) => (hidden ? -INFINITY : 0)

/** Masks that hide, or number, what is spoilt, from all or from some. */
const MASKED: readonly Masked[] = [
  [() => {}, () => 0],
  ...(['k', 'v'] as const).flatMap((operand) =>
    [NAN, INFINITY].flatMap((value): Masked[] => [
      [spoil(operand, T - 1, value), (_, key) => hide(key === T - 1)],
      [spoil(operand, 5, value, 2), (query, key) => hide(key === 5 && query % 2 === 0)],
    ]),
  ),
  ...(['q', 'dOut'] as const).flatMap((operand): Masked[] => [
    [spoil(operand, 3, NAN), (query) => hide(query === 3)],
    [spoil(operand, 33, NAN, 2), (query, key) => hide(query === 33 && key % 2 === 0)],
  ]),
  // Queries that see nothing, and one that sees only a score of -Infinity.
  [() => {}, (query) => hide(query % 3 === 1)],
  [scores((key) => (key === 9 ? -INFINITY : key / 8)), (query, key) => hide(query === 20 && key !== 9)],
]

/** Masks of numbers. */
const ADDED: readonly Masked[] = [
  [() => {}, (query, key) => (query === 8 && key === 4 ? NAN : 0)],
  [() => {}, (query, key) => (query === 8 && key === 4 ? INFINITY : 0)],
  [() => {}, (query, key) => (key > 20 ? -3.4028234663852886e38 : query / 8)],
]

/** Checks the three kernels on sequences with options, of which each has a mask of its own where there are masks. */
function checkOptions(
  name: string,
  scenarios: readonly Masked[],
  options: Partial<AttentionShape>,
  register = test,
  only: Pick<SpecialCase, 'variant'> = {},
): void {
  const { problem: plain, size, rows, operands } = sequences(scenarios.map(([scenario]) => scenario))
  const values = scenarios.flatMap(([, mask]) => Array.from({ length: T * T }, (_, i) => mask(Math.floor(i / T), i % T)))
  const boolean = options.masks === 'boolean'
  const mask = options.masks ? Float64Array.from(values, (x) => (boolean ? Number(x !== -INFINITY) : Math.fround(x))) : [0]
  const view: RowView = [0, T * T, 0, T]
  const problem = { ...plain, ...options, ...(options.masks && { mask: view, maskStep: 1 }) }
  const statistics = new Float64Array(deltaStart(problem) + rows)
  const saved = { out: new Float64Array(size), lse: new Float64Array(rows) }
  const arrays: Arrays = { ...operands, ...saved, mask: Float64Array.from(mask), statistics, dq: new Float64Array(size) }
  attentionReference(problem, arrays)
  statistics.set(saved.lse)
  const before = statistics.slice()
  queryGradientReference(problem, arrays)
  const { q, k, v, dOut } = operands
  const { out, lse } = saved
  const delta = statistics.slice(deltaStart(problem))
  const outputs = { out: size, lse: rows }
  check({ kernel: 'attention', name, problem, inputs: { q, k, v, mask }, outputs, tolerance: 1e-5, ...only }, register)
  const ofQueries = { q, k, v, out, dOut, statistics: before, mask }
  const dq = { dq: size }
  check({ kernel: 'attentionQueryGradient', name, problem, inputs: ofQueries, outputs: dq, tolerance: 1e-3, ...only }, register)
  const ofKeys = { q, k, v, dOut, lse, delta, mask }
  const dkv = { dkv: 2 * size }
  check(
    { kernel: 'attentionKeyValueGradient', name, problem, inputs: ofKeys, outputs: dkv, tolerance: 1e-3, ...only },
    register,
  )
}

const numbers = (register = test, only = {}) =>
  checkOptions('numbers as a mask', [...MASKED, ...ADDED], { masks: 'additive' }, register, only)
// In `npm test` only the variants that compile in a second.
if (quick) for (const variant of ['direct', 'subgroup', 'quad']) numbers(test, { variant })
numbers(slow)
checkOptions('a mask of truth values and a causal one', MASKED, { masks: 'boolean', causal: true }, slow)
checkOptions(
  'a causal mask',
  SCENARIOS.map((scenario) => [scenario, () => 0] as const),
  { causal: true },
  slow,
)

test('ends', () => on.device.destroy())
run()
