import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { axisViewOf } from '../../engine/ops/reduceDims.ts'
import { logSoftmax, softmax } from '../../engine/ops/softmax.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { softmaxBackwardReference, softmaxReference } from '../../kernels/softmax/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('softmax op')
const ops = { softmax, logSoftmax }

/** The expected output and gradient in float64. */
function expected(name: keyof typeof ops, x: Float32Array, shape: Shape, dim: number): ExpectedOp {
  const size = sizeOf(shape)
  const problem = { ...axisViewOf(name, shape, dim), log: name === 'logSoftmax' }
  const cotangent = normals(size, 2)
  const { y } = softmaxReference(problem, { x: Float64Array.from(x), y: new Float64Array(size) })
  const { dx } = softmaxBackwardReference(problem, {
    y: y!,
    dy: Float64Array.from(cotangent),
    dx: new Float64Array(size),
  })
  return { shape, output: y!, cotangent, gradients: [dx] }
}

const SHAPES: readonly [shape: Shape, dim: number][] = [
  [[], 0],
  ...[1, 7, 31, 33, 129, 257, 1025].map((n): [Shape, number] => [[n], -1]),
  [[33, 31], 1],
  [[33, 31], 0],
  [[5, 1028], -1],
  [[129, 8], -2],
  [[3, 7, 33], 1],
  [[3, 7, 33], -3],
  [[2, 3, 5, 12], 2],
  [[2, 3, 5, 12], -1],
  [[4, 1, 7, 1], 1],
]

for (const name of ['softmax', 'logSoftmax'] as const) {
  for (const [shape, dim] of SHAPES) {
    test(`${name} of [${shape}] along ${dim}`, async () => {
      const x = normals(sizeOf(shape), 1).map((value) => 3 * value)
      await checkOp(name, (t) => ops[name](t, dim), [leaf(x, shape)], expected(name, x, shape, dim))
    })
  }
  for (const dim of [0, 1, -1]) {
    test(`${name} of a strided view along ${dim}`, async () => {
      const shape = [4, 9, 8]
      const x = normals(sizeOf(shape), 3)
      await checkOp(name, (t) => ops[name](t, dim), [stridedLeaf(x, shape)], expected(name, x, shape, dim))
    })
  }
  for (const [kase, dim] of [
    ['large', -1],
    ['middle', 1],
  ] as const) {
    test(`${name}.${kase} as PyTorch`, async () => {
      const stored = (key: string) => golden.get(`${name}.${kase}.${key}`)!
      const { shape, data } = stored('x')
      await checkOp(name, (t) => ops[name](t, dim), [leaf(data, shape)], {
        shape,
        output: stored('output').data,
        cotangent: stored('cotangent').data,
        gradients: [stored('grad.x').data],
      })
    })
  }
  test(`${name} refuses what it cannot take`, () => {
    assertShapeError(() => ops[name](tensor([1, 2], { dtype: 'int32' }), 0), `${name}: got int32`)
    assertShapeError(() => ops[name](tensor([1, 2]), 1), `${name}: dim 1`)
    assertShapeError(() => ops[name](tensor([1, 2]), -2), `${name}: dim -2`)
  })
}
test('ends', () => device.destroy())
run()
