import { holdArenas } from '../../engine/autograd/arena.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { matmul } from '../../engine/ops/matmul.ts'
import { permute, reshape, transpose } from '../../engine/ops/shape.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { type NdArray, ndarray, permuted, summedTo } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('matmul op')

/** The product of [..., m, k] and [..., k, n] in float64. Both have all batch dims; those of size 1 repeat. */
function multiply(a: NdArray, b: NdArray): NdArray {
  const [m, k] = a.shape.slice(-2) as [number, number]
  const n = b.shape.at(-1)!
  const batch = a.shape.slice(0, -2).map((size, d) => Math.max(size, b.shape[d]!))
  const data = new Float64Array(sizeOf(batch) * m * n)
  const place = (x: NdArray, index: number[]) => index.reduce((at, i, d) => at * x.shape[d]! + (x.shape[d] === 1 ? 0 : i), 0)
  for (let t = 0; t < sizeOf(batch); t++) {
    let rest = t
    const index: number[] = []
    for (let d = batch.length - 1; d >= 0; d--) {
      index[d] = rest % batch[d]!
      rest = Math.floor(rest / batch[d]!)
    }
    const [a0, b0] = [place(a, index) * m * k, place(b, index) * k * n]
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0
        for (let l = 0; l < k; l++) sum += a.data[a0 + i * k + l]! * b.data[b0 + l * n + j]!
        data[(t * m + i) * n + j] = sum
      }
    }
  }
  return { shape: [...batch, m, n], data }
}

function swapped(a: NdArray): NdArray {
  const rank = a.shape.length
  return permuted(a, [...a.shape.keys()].slice(0, -2).concat(rank - 1, rank - 2))
}

/** The expected product and gradients in float64, by NumPy's rules. */
function expected(a: NdArray, b: NdArray): ExpectedOp {
  const rank = Math.max(a.shape.length, b.shape.length, 2)
  const whole = (shape: Shape) => [...new Array<number>(rank - shape.length).fill(1), ...shape]
  const left = { ...a, shape: whole(a.shape.length > 1 ? a.shape : [1, ...a.shape]) }
  const right = { ...b, shape: whole(b.shape.length > 1 ? b.shape : [...b.shape, 1]) }
  const out = multiply(left, right)
  const shape = [
    ...out.shape.slice(0, -2),
    ...(a.shape.length > 1 ? [out.shape.at(-2)!] : []),
    ...(b.shape.length > 1 ? [out.shape.at(-1)!] : []),
  ]
  const cotangent = normals(out.data.length, 7)
  const g = ndarray(cotangent, out.shape)
  const da = summedTo(multiply(g, swapped(right)), left.shape).data
  const db = summedTo(multiply(swapped(left), g), right.shape).data
  return { shape, output: out.data, cotangent, gradients: [da, db] }
}

const values = (shape: Shape, seed: number) => ndarray(normals(sizeOf(shape), seed), shape)

const PAIRS: readonly [Shape, Shape][] = [
  ...[1, 7, 31, 33, 129, 257].map((n): [Shape, Shape] => [
    [n, n],
    [n, n],
  ]),
  [[1025], [1025]],
  [[33], [33, 7]],
  [
    [7, 1025],
    [1025, 3],
  ],
  [[5, 33], [33]],
  [
    [3, 5, 33],
    [33, 7],
  ],
  [
    [2, 3, 5, 33],
    [33, 7],
  ],
  [
    [5, 33],
    [3, 33, 7],
  ],
  [
    [3, 4, 1, 7],
    [3, 4, 7, 1],
  ],
  [
    [3, 1, 5, 9],
    [4, 9, 7],
  ],
  [
    [1, 4, 5, 9],
    [3, 1, 9, 7],
  ],
  [
    [2, 1, 3, 1, 2, 9],
    [1, 3, 1, 2, 9, 4],
  ],
  [
    [2, 1, 2, 1, 2, 5, 9],
    [1, 2, 1, 2, 1, 9, 4],
  ],
  [[4, 5, 9], [9]],
  [[9], [2, 3, 9, 7]],
]

for (const [shapeA, shapeB] of PAIRS) {
  test(`[${shapeA}] by [${shapeB}]`, async () => {
    const [a, b] = [values(shapeA, 1), values(shapeB, 2)]
    await checkOp('matmul', matmul, [leaf(a.data, shapeA), leaf(b.data, shapeB)], expected(a, b))
  })
  test(`[${shapeA}] by [${shapeB}], strided`, async () => {
    const [a, b] = [values(shapeA, 3), values(shapeB, 4)]
    await checkOp('matmul', matmul, [stridedLeaf(a.data, shapeA), stridedLeaf(b.data, shapeB)], expected(a, b))
  })
}

test('transposed and sliced views', async () => {
  const a = values([4, 9, 5], 1)
  const b = values([4, 6, 9], 2)
  const op = (x: Tensor, y: Tensor) => matmul(transpose(x, 1, 2), transpose(y, -1, -2))
  const [left, right] = [permuted(a, [0, 2, 1]), permuted(b, [0, 2, 1])]
  const { gradients, ...rest } = expected(left, right)
  const back = gradients.map((g, i) => permuted(ndarray(g!, [left, right][i]!.shape), [0, 2, 1]).data)
  await checkOp('matmul', op, [leaf(a.data, a.shape), leaf(b.data, b.shape)], { ...rest, gradients: back })
})

test('a slice of the columns, heads taken apart', async () => {
  // x [B, T, 2 * H * Dh] is read as q and k, each [B, H, T, Dh], whose product is scores [B, H, T, T].
  const [B, T, H, Dh] = [2, 5, 3, 4]
  const x = values([B, T, 2 * H * Dh], 1)
  const heads = (t: Tensor, part: number) =>
    permute(reshape(slice(t, [[], [], [part * H * Dh, (part + 1) * H * Dh]]), [B, T, H, Dh]), [0, 2, 1, 3])
  const scores = (t: Tensor) => matmul(heads(t, 0), transpose(heads(t, 1), 2, 3))
  const output = new Float64Array(B * H * T * T)
  const at = (b: number, t: number, part: number, h: number, d: number) => (((b * T + t) * 2 + part) * H + h) * Dh + d
  const cotangent = normals(output.length, 7)
  const gradient = new Float64Array(x.data.length)
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < T; i++) {
        for (let j = 0; j < T; j++) {
          const o = ((b * H + h) * T + i) * T + j
          for (let d = 0; d < Dh; d++) {
            const [q, k] = [at(b, i, 0, h, d), at(b, j, 1, h, d)]
            output[o]! += x.data[q]! * x.data[k]!
            gradient[q]! += cotangent[o]! * x.data[k]!
            gradient[k]! += cotangent[o]! * x.data[q]!
          }
        }
      }
    }
  }
  await checkOp('scores', scores, [leaf(x.data, x.shape)], { shape: [B, H, T, T], output, cotangent, gradients: [gradient] })
})

test('one matrix with itself', async () => {
  const a = values([9, 9], 1)
  const { gradients, ...rest } = expected(a, a)
  const both = (gradients[0] as Float64Array).map((g, i) => g + gradients[1]![i]!)
  await checkOp('matmul', (x) => matmul(x, x), [leaf(a.data, a.shape)], { ...rest, gradients: [both] })
})

test('only the gradients that are wanted', async () => {
  const [a, b] = [values([3, 5, 9], 1), values([9, 7], 2)]
  const { gradients, ...rest } = expected(a, b)
  for (const wanted of [0, 1]) {
    const inputs = [leaf(a.data, a.shape), leaf(b.data, b.shape)]
    inputs[1 - wanted]!.requiresGrad = false
    const kept = gradients.map((gradient, i) => (i === wanted ? gradient : undefined))
    await checkOp('matmul', matmul, inputs, { ...rest, gradients: kept })
  }
})

test('gradients into the slots of an arena', async () => {
  const [a, b] = [values([3, 5, 9], 1), values([9, 7], 2)]
  const { gradients, cotangent } = expected(a, b)
  const inputs = [leaf(a.data, a.shape), leaf(b.data, b.shape)]
  const arena = holdArenas('test', inputs)[0]!
  backward(matmul(inputs[0]!, inputs[1]!), tensor(Float32Array.from(cotangent), { shape: [3, 5, 7] }))
  for (const slot of [0, 1]) {
    assertClose(await arena.slot(arena.gradients, slot).data(), gradients[slot]!, 1e-4, `slot ${slot}`)
  }
})

test('refuses what it cannot take', () => {
  const zeros = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  assertShapeError(() => matmul(zeros(2, 3), zeros(2, 3)), 'matmul: got float32 [2, 3] and float32 [2, 3]')
  assertShapeError(() => matmul(zeros(3), zeros(2)), 'matmul')
  assertShapeError(() => matmul(tensor(1), zeros(1)), 'float32 []')
  assertShapeError(() => matmul(zeros(1), tensor(1)), 'float32 []')
  assertShapeError(() => matmul(zeros(1), tensor(Int32Array.of(1))), 'int32 [1]')
  assertShapeError(() => matmul(zeros(2, 3, 4), zeros(3, 4, 5)), 'do not broadcast')
})

test('ends', () => device.destroy())
run()
