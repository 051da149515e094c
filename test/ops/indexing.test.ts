// gather, scatter, scatterAdd, indexSelect, maskedFill, oneHot, triu and tril against plain loops, and PyTorch's values.
import { backward } from '../../engine/autograd/backward.ts'
import {
  broadcastTo,
  gather,
  indexSelect,
  maskedFill,
  oneHot,
  requestDevice,
  type Shape,
  scatter,
  scatterAdd,
  type Tensor,
  tensor,
  transpose,
  tril,
  triu,
} from '../../engine/index.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { rowMajorStrides } from '../../kernels/layout.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('ops by index')

/** By element of an index, the element of x that it names, or -1 where it lies outside. */
function targets(x: Shape, shape: Shape, dim: number, index: ArrayLike<number>): number[] {
  const [steps, strides] = [rowMajorStrides(shape), rowMajorStrides(x)]
  return Array.from({ length: sizeOf(shape) }, (_, at) => {
    const k = index[at]!
    if (k < 0 || k >= x[dim]!) return -1
    return shape.reduce((sum, size, d) => sum + (d === dim ? k : Math.floor(at / steps[d]!) % size) * strides[d]!, 0)
  })
}

/** Indices of which many repeat. */
function indicesInto(n: number, size: number, seed = 1): Int32Array {
  const random = testRandom(seed)
  return Int32Array.from({ length: size }, () => Math.floor(random() ** 2 * n))
}

/** Shapes of x and of the index, and the dim. */
const SHAPES: [x: Shape, index: Shape, dim: number][] = [
  [[7], [33], 0],
  [[5, 4], [9, 4], 0],
  [[5, 33], [5, 7], 1],
  [[3, 5, 4], [3, 8, 4], -2],
  [[3, 5, 4], [2, 8, 3], 1],
  [[2, 1, 3, 5], [1, 4, 3, 2], 1],
]

for (const [shape, indexShape, dim] of SHAPES) {
  const axis = dim < 0 ? dim + shape.length : dim
  const index = indicesInto(shape[axis]!, sizeOf(indexShape))
  const found = targets(shape, indexShape, axis, index)
  const [x, src] = [normals(sizeOf(shape), 1), normals(index.length, 2)]
  const what = `[${shape}] by [${indexShape}] along ${dim}`
  const indices = () => tensor(index, { shape: indexShape })

  test(`gather of ${what}`, async () => {
    const cotangent = normals(index.length, 3)
    const gradient = new Float64Array(x.length)
    for (const [at, target] of found.entries()) gradient[target]! += cotangent[at]!
    const output = found.map((target) => x[target]!)
    for (const make of [leaf, stridedLeaf]) {
      const expected = { shape: indexShape, output, cotangent, gradients: [gradient] }
      await checkOp('gather', (t) => gather(t!, dim, indices()), [make(x, shape)], expected)
    }
  })
  test(`scatter into ${what}`, async () => {
    const cotangent = normals(x.length, 3)
    const last = new Map(found.map((target, at) => [target, at]))
    const output = Array.from(x, (value, i) => (last.has(i) ? src[last.get(i)!]! : value))
    const gradients = [
      cotangent.map((value, i) => (last.has(i) ? 0 : value)),
      src.map((_, at) => (last.get(found[at]!) === at ? cotangent[found[at]!]! : 0)),
    ]
    for (const make of [leaf, stridedLeaf]) {
      await checkOp('scatter', (a, b) => scatter(a!, dim, indices(), b!), [make(x, shape), make(src, indexShape)], {
        shape,
        output,
        cotangent,
        gradients,
      })
    }
  })
  test(`scatterAdd into ${what}`, async () => {
    const cotangent = normals(x.length, 3)
    const output = Float64Array.from(x)
    for (const [at, target] of found.entries()) output[target]! += src[at]!
    const gradients = [cotangent, found.map((target) => cotangent[target]!)]
    for (const make of [leaf, stridedLeaf]) {
      await checkOp('scatterAdd', (a, b) => scatterAdd(a!, dim, indices(), b!), [make(x, shape), make(src, indexShape)], {
        shape,
        output,
        cotangent,
        gradients,
      })
    }
  })
}

test('indexSelect along each dim', async () => {
  const shape = [5, 4, 8]
  const x = normals(sizeOf(shape), 1)
  for (const dim of [0, 1, 2]) {
    const index = indicesInto(shape[dim]!, 9, dim)
    const to = shape.with(dim, 9)
    const whole = Array.from({ length: sizeOf(to) }, (_, at) => index[Math.floor(at / rowMajorStrides(to)[dim]!) % 9]!)
    const found = targets(shape, to, dim, whole)
    const cotangent = normals(found.length, 2)
    const gradient = new Float64Array(x.length)
    for (const [at, target] of found.entries()) gradient[target]! += cotangent[at]!
    const output = found.map((target) => x[target]!)
    for (const make of [leaf, stridedLeaf]) {
      const expected = { shape: to, output, cotangent, gradients: [gradient] }
      await checkOp('indexSelect', (t) => indexSelect(t!, dim, tensor(index)), [make(x, shape)], expected)
    }
  }
})

test('scatterAdd of wide rows that share an index', async () => {
  const [rows, count, width] = [40, 300, 12]
  const index = indicesInto(rows, count)
  index[7] = -1
  const [x, src, cotangent] = [normals(rows * width, 1), normals(count * width, 2), normals(rows * width, 3)]
  const output = Float64Array.from(x)
  const gradient = new Float64Array(count * width)
  for (const [k, row] of index.entries()) {
    for (let d = 0; row >= 0 && d < width; d++) {
      output[row * width + d]! += src[k * width + d]!
      gradient[k * width + d] = cotangent[row * width + d]!
    }
  }
  const shared = broadcastTo(tensor(index, { shape: [count, 1] }), [count, width])
  for (const make of [leaf, stridedLeaf]) {
    const inputs = [make(x, [rows, width]), make(src, [count, width])]
    const expected = { shape: [rows, width], output, cotangent, gradients: [cotangent, gradient] }
    await checkOp('scatterAdd', (a, b) => scatterAdd(a!, 0, shared, b!), inputs, expected)
  }
})

test('indices outside: NaN and no gradient; a scatter leaves them out', async () => {
  const index = tensor(Int32Array.of(-1, 1, 3, 2 ** 31 - 1, -(2 ** 31)))
  const x = leaf([1, 2, 3], [3])
  const taken = gather(x, 0, index)
  assertClose(
    (await taken.data()).map((value, i) => (Number.isNaN(value) === (i !== 1) ? 1 : 0)) as Float32Array,
    [1, 1, 1, 1, 1],
    0,
    'NaN',
  )
  backward(taken, tensor([1, 2, 3, 4, 5]))
  assertClose(await x.grad!.data(), [0, 2, 0], 0, 'gradient of gather')
  const whole = await gather(tensor(Int32Array.of(1, 2, 3)), 0, index).data()
  if (`${whole}` !== `${[-(2 ** 31), 2, -(2 ** 31), -(2 ** 31), -(2 ** 31)]}`) throw new Error(`int32: ${whole}`)
  for (const [op, want] of [
    [scatter, [1, 20, 3]],
    [scatterAdd, [1, 22, 3]],
  ] as const) {
    const src = leaf([10, 20, 30, 40, 50], [5])
    const y = op(tensor([1, 2, 3]), 0, index, src)
    assertClose(await y.data(), want, 0, 'values')
    backward(y, tensor([5, 6, 7]))
    assertClose(await src.grad!.data(), [0, 6, 0, 0, 0], 0, 'gradient of the source')
  }
})

test('scatterAdd: the same bits in every order, correctly rounded, whatever the sizes of the addends', async () => {
  const random = testRandom(5)
  const count = 3000
  const values = Float32Array.from({ length: count }, () => (random() - 0.5) * 2 ** Math.floor(40 * random() - 20))
  const index = indicesInto(7, count)
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => ((a * 7919) % count) - ((b * 7919) % count))
  const results = await Promise.all(
    [order, order.toReversed()].map((list) => {
      const [i, v] = [Int32Array.from(list, (k) => index[k]!), Float32Array.from(list, (k) => values[k]!)]
      return scatterAdd(tensor(new Float32Array(7)), 0, tensor(i), tensor(v)).data()
    }),
  )
  if (`${results[0]}` !== `${results[1]}`) throw new Error(`${results[0]} and ${results[1]}`)
  const exact = new Float64Array(7)
  for (const [k, i] of index.entries()) exact[i]! += values[k]!
  for (const [i, value] of results[0]!.entries()) {
    const error = Math.abs(value - exact[i]!) / Math.abs(exact[i]!)
    if (!(error <= 2 ** -24 * 1.001)) throw new Error(`sum ${i}: ${value}, exactly ${exact[i]}`)
  }
})

test('scatterAdd: NaN, infinities, overflow, and zeros that keep their sign', async () => {
  const I = Infinity
  const index = tensor(Int32Array.of(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5))
  const src = tensor([NaN, 1, I, 1, I, -I, -I, 5, 3e38, 3e38, -0])
  const y = await scatterAdd(tensor([1, 1, 1, 1, 1, -0, -0]), 0, index, src).data()
  const want = [NaN, I, NaN, -I, I, -0, -0]
  if (!want.every((value, i) => Object.is(value, y[i]))) throw new Error(`got ${y}`)
})

test('scatterAdd of int32 wraps around; a number scattered; a source of float16', async () => {
  const sums = await scatterAdd(
    tensor(Int32Array.of(1, 2)),
    0,
    tensor(Int32Array.of(1, 1, 0)),
    tensor(Int32Array.of(2 ** 31 - 1, 5, 7)),
  ).data()
  if (`${sums}` !== `${[8, (2 + 2 ** 31 - 1 + 5) | 0]}`) throw new Error(`got ${sums}`)
  assertClose(await scatter(tensor([1, 2, 3]), 0, tensor(Int32Array.of(1)), 9).data(), [1, 9, 3], 0, 'a number')
  if (!device.capabilities.f16) return
  const half = (values: number[]) => tensor(values, { dtype: 'float16', requiresGrad: true })
  const [x, src] = [half([1, 2, 3]), half([2048, 1, 1])]
  const y = scatterAdd(x, 0, tensor(Int32Array.of(1, 1, 1)), src)
  if (y.dtype !== 'float16') throw new Error(y.dtype)
  assertClose(await y.data(), [1, 2052, 3], 0, 'float16')
  backward(y, tensor([1, 2, 3], { dtype: 'float16' }))
  assertClose(await src.grad!.data(), [2, 2, 2], 0, 'gradient')
  const taken = gather(x, 0, tensor(Int32Array.of(2, 2, 0)))
  backward(taken, tensor([1, 2, 3], { dtype: 'float16' }))
  assertClose(await x.grad!.data(), [4, 2, 6], 0, 'gradient of gather')
})

test('maskedFill: masks of any dtype broadcast; the gradient is 0 where a value stands', async () => {
  const x = normals(12, 1)
  for (const mask of [tensor(Int32Array.of(0, -3, 0, 1)), tensor([-0, NaN, 0, 1e-30])]) {
    const cotangent = normals(12, 2)
    await checkOp('maskedFill', (t) => maskedFill(t!, mask, -7), [leaf(x, [3, 4])], {
      shape: [3, 4],
      output: x.map((value, i) => (i % 2 ? -7 : value)),
      cotangent,
      gradients: [cotangent.map((value, i) => (i % 2 ? 0 : value))],
    })
  }
  assertShapeError(() => maskedFill(tensor([1, 2]), tensor([[1], [2]]), 0), 'maskedFill: got float32 [2] and float32 [2, 1]')
})

test('triu and tril of every diagonal', async () => {
  for (const [shape, [rows, columns]] of [
    [
      [3, 5],
      [3, 5],
    ],
    [
      [2, 4, 4],
      [4, 4],
    ],
  ] as [Shape, [number, number]][]) {
    const x = normals(sizeOf(shape), 1)
    const cotangent = normals(x.length, 2)
    for (const k of [-100, -2, 0, 1, 3, 2 ** 40]) {
      for (const [name, op] of Object.entries({ triu, tril })) {
        const keep = (value: number, i: number) => {
          const above = (i % columns) - (Math.floor(i / columns) % rows) - k
          return (name === 'triu' ? above >= 0 : above <= 0) ? value : 0
        }
        await checkOp(name, (t) => op(t!, k), [stridedLeaf(x, shape)], {
          shape,
          output: x.map(keep),
          cotangent,
          gradients: [cotangent.map(keep)],
        })
      }
    }
  }
})

test('oneHot', async () => {
  const rows = oneHot(tensor(Int32Array.of(2, 0, -1, 3), { shape: [2, 2] }), 3)
  if (rows.dtype !== 'int32' || `${rows.shape}` !== '2,2,3') throw new Error(`${rows.dtype} [${rows.shape}]`)
  assertClose(await rows.data(), [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0, 'rows')
  assertClose(await oneHot(tensor(Int32Array.of(1)), 2, { dtype: 'float32' }).data(), [0, 1], 0, 'float32')
})

test('an index may be a strided or a broadcast view', async () => {
  const x = tensor(normals(20, 1), { shape: [5, 4] })
  const values = await x.data()
  const index = transpose(tensor(Int32Array.of(0, 1, 2, 3, 4, 0, 1, 2), { shape: [4, 2] }), 0, 1)
  const want = [0, 1].flatMap((i) => [0, 1, 2, 3].map((j) => values[((2 * j + i) % 5) * 4 + j]!))
  assertClose(await gather(x, 0, index).data(), want, 0, 'strided')
  const row = broadcastTo(tensor(Int32Array.of(3, 1), { shape: [2, 1] }), [2, 4])
  assertClose(await gather(x, 0, row).data(), [...values.slice(12, 16), ...values.slice(4, 8)], 0, 'broadcast')
})

test('refuses what it cannot take', () => {
  const x = tensor(new Float32Array(6), { shape: [2, 3] })
  const index = (...shape: number[]) => tensor(new Int32Array(sizeOf(shape)), { shape })
  assertShapeError(() => gather(x, 2, index(2, 3)), 'gather: dim 2')
  assertShapeError(
    () => gather(x, 0, index(2)),
    'gather: got float32 [2, 3] and int32 [2]; takes an index int32 of the rank of x',
  )
  assertShapeError(() => gather(x, 0, index(2, 4)), 'gather: got float32 [2, 3] and int32 [2, 4]')
  assertShapeError(() => gather(x, 0, x as Tensor), 'gather: got float32 [2, 3] and float32 [2, 3]')
  for (const [name, op] of Object.entries({ scatter, scatterAdd })) {
    assertShapeError(() => op(x, 0, index(1, 3), x), `${name}: got src float32 [2, 3], takes float32 [1, 3]`)
  }
  assertShapeError(() => indexSelect(x, 0, index(1, 3)), 'indexSelect: got float32 [2, 3] and int32 [1, 3]')
  assertShapeError(() => oneHot(x, 3), 'oneHot: got float32 [2, 3]')
  assertShapeError(() => triu(tensor([1])), 'triu: got float32 [1]')
})

test('ends', () => device.destroy())
run()
