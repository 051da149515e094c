import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { cumsum } from '../../engine/ops/cumsum.ts'
import { axisViewOf } from '../../engine/ops/reduceDims.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { cumsumReference } from '../../kernels/cumsum/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('cumsum op')

/** Running sums along a dim in float64. */
function running(x: ArrayLike<number>, shape: Shape, dim: number, reverse: boolean): Float64Array {
  const lines = axisViewOf('cumsum', shape, dim)
  const problem = { ...lines, chunk: lines.n, chunks: 1, reverse }
  return cumsumReference(problem, { x: Float64Array.from(x), y: new Float64Array(x.length) }).y!
}

function expected(x: Float32Array, shape: Shape, dim: number): ExpectedOp {
  const cotangent = normals(x.length, 2)
  return {
    shape,
    output: running(x, shape, dim, false),
    cotangent,
    gradients: [running(cotangent, shape, dim, true)],
  }
}

const SHAPES: readonly [shape: Shape, dim: number][] = [
  [[], -1],
  ...[1, 7, 31, 33, 129, 257, 1025].map((n): [Shape, number] => [[n], 0]),
  [[33, 31], -1],
  [[8, 4, 64], 0],
  [[3, 7, 33], 1],
  [[2, 3, 5, 12], -2],
  [[2, 3, 5, 12], 3],
]

for (const [shape, dim] of SHAPES) {
  test(`[${shape}] along ${dim}`, async () => {
    const x = normals(sizeOf(shape), 1)
    await checkOp('cumsum', (t) => cumsum(t, dim), [leaf(x, shape)], expected(x, shape, dim))
  })
}
for (const dim of [0, 1, -1]) {
  test(`a strided view along ${dim}`, async () => {
    const shape = [4, 9, 8]
    const x = normals(sizeOf(shape), 3)
    await checkOp('cumsum', (t) => cumsum(t, dim), [stridedLeaf(x, shape)], expected(x, shape, dim))
  })
}
test('cumsum.middle as PyTorch', async () => {
  const stored = (key: string) => golden.get(`cumsum.middle.${key}`)!
  const { shape, data } = stored('x')
  await checkOp('cumsum', (t) => cumsum(t, 1), [leaf(data, shape)], {
    shape,
    output: stored('output').data,
    cotangent: stored('cotangent').data,
    gradients: [stored('grad.x').data],
  })
})
test('int32 is exact and wraps around', async () => {
  const y = cumsum(tensor([2147483647, 1, -5, 16777217], { dtype: 'int32' }), 0)
  if (`${await y.data()}` !== `${[2147483647, -2147483648, 2147483643, -2130706436]}`) throw new Error(`got ${await y.data()}`)
  if (y.dtype !== 'int32') throw new Error(`dtype ${y.dtype}`)
})
test('refuses a dim that is not there', () => {
  assertShapeError(() => cumsum(tensor([1, 2]), 1), 'cumsum: dim 1')
})
test('ends', () => device.destroy())
run()
