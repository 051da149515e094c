import * as ops from '../../engine/index.ts'
import { requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { leaf, stridedLeaf } from '../harness/checkOp.ts'
import { equalValues as equals } from '../harness/equalValues.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('comparisons')
const { NaN: NAN, POSITIVE_INFINITY: INF } = Number

const x = [1, NAN, INF, -INF, 0, 2]
const y = [2, 1, INF, 3, -0, 2]
const COMPARISONS: Record<'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge', [number[], number[]]> = {
  eq: [
    [0, 0, 1, 0, 1, 1],
    [0, 0, 0, 0, 0, 1],
  ],
  ne: [
    [1, 1, 0, 1, 0, 0],
    [1, 1, 1, 1, 1, 0],
  ],
  lt: [
    [1, 0, 0, 1, 0, 0],
    [1, 0, 0, 1, 1, 0],
  ],
  le: [
    [1, 0, 1, 1, 1, 1],
    [1, 0, 0, 1, 1, 1],
  ],
  gt: [
    [0, 0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0],
  ],
  ge: [
    [0, 0, 1, 0, 1, 1],
    [0, 0, 1, 0, 0, 1],
  ],
}
const FUNCTIONS = { eq: ops.eq, ne: ops.ne, lt: ops.lt, le: ops.le, gt: ops.gt, ge: ops.ge }
/** By comparison, the one that holds of swapped operands. */
const SWAPPED = { eq: 'eq', ne: 'ne', lt: 'gt', le: 'ge', gt: 'lt', ge: 'le' } as const

for (const [name, [ofTensors, withTwo]] of Object.entries(COMPARISONS)) {
  const swapped = FUNCTIONS[SWAPPED[name as 'eq']]
  const op = (a: Tensor, b: Tensor | number) => a[name as 'eq'](b)
  test(`${name} of floats, int32, numbers and broadcast operands`, async () => {
    await equals('of tensors', op(leaf(x, [6]), tensor(y)), 'int32', ofTensors)
    await equals('with a number', op(tensor(x), 2), 'int32', withTwo)
    await equals('of a number', swapped(2, tensor(x)), 'int32', withTwo)
    const ints = tensor([1, 2, 3], { dtype: 'int32' })
    const pick = (pairs: [number, number][]) =>
      pairs.map(([a, b]) => Number({ eq: a === b, ne: a !== b, lt: a < b, le: a <= b, gt: a > b, ge: a >= b }[name]))
    await equals(
      'of int32 and floats',
      op(ints, tensor([1.5, 2, 2.5])),
      'int32',
      pick([
        [1, 1.5],
        [2, 2],
        [3, 2.5],
      ]),
    )
    await equals(
      'of int32',
      op(ints, 2),
      'int32',
      pick([
        [1, 2],
        [2, 2],
        [3, 2],
      ]),
    )
    const table = op(stridedLeaf([0, 1, 2, 3, 4, 5], [3, 2]), tensor([2, 3])).reshape([-1])
    await equals(
      'broadcast',
      table,
      'int32',
      pick([
        [0, 2],
        [1, 3],
        [2, 2],
        [3, 3],
        [4, 2],
        [5, 3],
      ]),
    )
    if (op(leaf(x, [6]), 2).requiresGrad) throw new Error('a comparison is on the tape')
  })
}

test('logic takes what is not 0 for true, NaN too', async () => {
  const [a, b] = [tensor([0, 1, NAN, -0]), tensor([1, 2, 0, 0], { dtype: 'int32' })]
  await equals('and', a.logicalAnd(b), 'int32', [0, 1, 0, 0])
  await equals('or', a.logicalOr(b), 'int32', [1, 1, 1, 0])
  await equals('not', a.logicalNot(), 'int32', [1, 0, 0, 1])
  await equals('not of int32', b.logicalNot(), 'int32', [0, 0, 1, 1])
  await equals('isNaN', tensor(x).isNaN(), 'int32', [0, 1, 0, 0, 0, 0])
  await equals('isFinite', tensor(x).isFinite(), 'int32', [1, 0, 0, 0, 1, 1])
  await equals('isFinite of int32', b.isFinite(), 'int32', [1, 1, 1, 1])
  await equals('isNaN of int32', tensor([0x7fc00000], { dtype: 'int32' }).isNaN(), 'int32', [0])
  await equals('subnormals are ordered', tensor([1e-45, -1e-45, 1e-40]).gt(tensor([0, 0, 1e-41])), 'int32', [1, 0, 1])
})

test('ends', () => device.destroy())
run()
