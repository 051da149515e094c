import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { where } from '../../engine/ops/where.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { testRandom } from '../harness/kernel.ts'
import { broadcasted, ndarray, summedTo, zip } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('where op')

const TRIPLES: [condition: Shape, a: Shape, b: Shape][] = [
  [[], [], []],
  [[7], [7], [7]],
  [[33], [], [1]],
  [[], [31], [31]],
  [[5, 1], [5, 36], [36]],
  [
    [1, 37],
    [5, 1],
    [5, 37],
  ],
  [
    [3, 1, 7],
    [129, 1],
    [3, 1, 1],
  ],
]
for (const [conditionShape, shapeA, shapeB] of TRIPLES) {
  for (const dtype of ['float32', 'int32'] as const) {
    for (const [kind, make] of Object.entries({ contiguous: leaf, strided: stridedLeaf })) {
      test(`${dtype} [${conditionShape}] of ${kind} [${shapeA}] and [${shapeB}]`, async () => {
        const random = testRandom(1)
        const holds = ndarray(
          Array.from({ length: sizeOf(conditionShape) }, () => Math.floor(random() * 3) - 1),
          conditionShape,
        )
        const condition = tensor(Float32Array.from(holds.data), { shape: conditionShape, dtype })
        const [a, b] = [ndarray(normals(sizeOf(shapeA), 2), shapeA), ndarray(normals(sizeOf(shapeB), 3), shapeB)]
        const { shape } = zip(
          holds,
          zip(a, b, () => 0),
          () => 0,
        )
        const [test, left, right] = [holds, a, b].map((array) => broadcasted(array, shape).data) as [
          Float64Array,
          Float64Array,
          Float64Array,
        ]
        const cotangent = normals(sizeOf(shape), 4)
        const part = (wanted: boolean) => Array.from(cotangent, (g, i) => ((test[i] !== 0) === wanted ? g : 0))
        await checkOp('where', (x, y) => where(condition, x, y), [make(a.data, shapeA), make(b.data, shapeB)], {
          shape,
          output: left.map((value, i) => (test[i] !== 0 ? value : right[i]!)),
          cotangent,
          gradients: [summedTo(ndarray(part(true), shape), shapeA).data, summedTo(ndarray(part(false), shape), shapeB).data],
        })
      })
    }
  }
}

test('numbers', async () => {
  const condition = tensor([1, 0, -1, 0], { dtype: 'int32' })
  const cotangent = [1, 2, 3, 4]
  const x = () => [leaf([5, 6, 7, 8], [4])]
  const onRight = { shape: [4], output: [5, -1.5, 7, -1.5], cotangent, gradients: [[1, 0, 3, 0]] }
  await checkOp('where', (t) => where(condition, t, -1.5), x(), onRight)
  const onLeft = { shape: [4], output: [-1.5, 6, -1.5, 8], cotangent, gradients: [[0, 2, 0, 4]] }
  await checkOp('where', (t) => where(condition, -1.5, t), x(), onLeft)
  const both: Tensor = where(condition, 1, 0)
  if (both.dtype !== 'float32' || `${await both.data()}` !== '1,0,1,0') throw new Error(`two numbers: ${await both.data()}`)
})

test('int32 and what is not a number', async () => {
  const condition = tensor([1, 0, -0, 2])
  const ints = where(condition, tensor([1, 2, 3, 2147483647], { dtype: 'int32' }), -7)
  if (ints.dtype !== 'int32' || `${await ints.data()}` !== '1,-7,-7,2147483647') throw new Error(`int32: ${await ints.data()}`)
  const kept = where(condition, tensor([1, Number.NaN, Number.NaN, 4]), 0)
  if (`${await kept.data()}` !== '1,0,0,4') throw new Error(`NaN passed: ${await kept.data()}`)
})

test('dtypes meet by the rule of all ops', async () => {
  const condition = tensor([1, 0], { dtype: 'int32' })
  const met = where(condition, tensor([1, 2], { dtype: 'int32' }), tensor([0.5, 1.5]))
  if (met.dtype !== 'float32' || `${await met.data()}` !== '1,1.5') throw new Error(`${met.dtype} ${await met.data()}`)
})

test('refusals name the op', () => {
  const condition = tensor([1, 0])
  assertShapeError(() => where(condition, tensor([1, 2], { dtype: 'int32' }), 0.5), 'where: got 0.5')
  assertShapeError(() => where(condition, tensor([1, 2, 3]), 0), 'where: shapes')
})
test('ends', () => device.destroy())
run()
