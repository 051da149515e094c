import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { embedding } from '../../engine/ops/embedding.ts'
import { transpose } from '../../engine/ops/shape.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { gatherReference, scatterAddReference } from '../../kernels/gather/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('embedding op')

function expected(weight: Float32Array, [rows, width]: [number, number], indices: Int32Array, shape: number[]): ExpectedOp {
  const problem = { count: indices.length, rows, width }
  const places = Float64Array.from(indices)
  const cotangent = normals(problem.count * width, 2)
  const { output } = gatherReference(problem, { weight: Float64Array.from(weight), indices: places })
  const { output: gradient } = scatterAddReference(problem, { input: Float64Array.from(cotangent), indices: places })
  return { shape: [...shape, width], output: output!, cotangent, gradients: [gradient, undefined] }
}

function someIndices(count: number, rows: number): Int32Array {
  const random = testRandom(count)
  return Int32Array.from({ length: count }, () => Math.floor(random() ** 2 * rows))
}

const CASES: [table: [number, number], shape: number[]][] = [
  [[5, 3], []],
  ...[1, 7, 31, 33, 129, 257, 1025].flatMap((n): [[number, number], number[]][] => [
    [[6, 4], [n]],
    [
      [n, 5],
      [2, 3],
    ],
    [
      [9, n],
      [2, 1, 3],
    ],
    // Few indices into a large table are sorted first.
    [[1000, n], [70]],
  ]),
  [[300, 8], [1500]],
]

for (const [table, shape] of CASES) {
  test(`[${table}] by [${shape}]`, async () => {
    const weight = normals(sizeOf(table), 1)
    const indices = someIndices(sizeOf(shape), table[0])
    const inputs = [leaf(weight, table), tensor(indices, { shape })]
    await checkOp('embedding', (w, i) => embedding(w!, i!), inputs, expected(weight, table, indices, shape))
  })
}
test('strided weight and indices', async () => {
  const weight = normals(60, 1)
  const indices = Int32Array.of(3, 0, 3, 9, 1, 1)
  // The indices lie in memory as [3, 2] and are read as [2, 3].
  const swapped = transpose(tensor(Int32Array.of(3, 9, 0, 1, 3, 1), { shape: [3, 2] }), 0, 1)
  await checkOp(
    'embedding',
    (w, i) => embedding(w!, i!),
    [stridedLeaf(weight, [10, 6]), swapped],
    expected(weight, [10, 6], indices, [2, 3]),
  )
})
test('embedding.repeated as PyTorch', async () => {
  const stored = (key: string) => golden.get(`embedding.repeated.${key}`)!
  const { shape, data } = stored('weight')
  const indices = tensor(Int32Array.from(stored('indices').data), { shape: stored('indices').shape })
  await checkOp('embedding', (w, i) => embedding(w!, i!), [leaf(data, shape), indices], {
    shape: stored('output').shape,
    output: stored('output').data,
    cotangent: stored('cotangent').data,
    gradients: [stored('grad.weight').data, undefined],
  })
})
test('an index outside gives NaN and no gradient', async () => {
  const weight = leaf([1, 2, 3, 4], [2, 2])
  const y = embedding(weight, tensor(Int32Array.of(1, 2, -1, 2147483647, 0)))
  const nan = Number.NaN
  assertClose(await y.data(), [3, 4, nan, nan, nan, nan, nan, nan, 1, 2], 0, 'output')
  backward(y, tensor(new Float32Array(10).fill(1), { shape: [5, 2] }))
  assertClose(await weight.grad!.data(), [1, 1, 1, 1], 0, 'gradient')
})
test('the gradient has the same bits each time', async () => {
  for (const rows of [3, 1000]) {
    const weight = leaf(normals(rows * 5, 1), [rows, 5])
    const indices = tensor(someIndices(900, rows))
    const cotangent = tensor(normals(4500, 2), { shape: [900, 5] })
    const runs: string[] = []
    for (let i = 0; i < 3; i++) {
      backward(embedding(weight, indices), cotangent)
      runs.push(`${await weight.grad!.data()}`)
      weight.grad!.dispose()
      weight.grad = undefined
    }
    if (new Set(runs).size !== 1) throw new Error(`${rows} rows: gradients differ`)
  }
})
test('refuses what it cannot take', () => {
  const [weight, indices] = [leaf(normals(6, 1), [2, 3]), tensor(Int32Array.of(0, 1))]
  const takes = 'takes weight float32 [V, D] and indices int32 [...]'
  assertShapeError(() => embedding(weight, tensor([0, 1])), `embedding: got float32 [2, 3] and float32 [2]; ${takes}`)
  assertShapeError(() => embedding(leaf([1, 2], [2]), indices), `embedding: got float32 [2] and int32 [2]; ${takes}`)
  assertShapeError(() => embedding(indices, indices), `embedding: got int32 [2] and int32 [2]; ${takes}`)
})
test('ends', () => device.destroy())
run()
