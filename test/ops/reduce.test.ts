import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { add } from '../../engine/ops/elementwise.ts'
import { argmax, max } from '../../engine/ops/extremum.ts'
import { mean, sum } from '../../engine/ops/reduce.ts'
import { broadcastTo, permute, reshape, transpose } from '../../engine/ops/shape.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { rowMajorStrides } from '../../kernels/layout.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('reduction ops')

type Dims = number | number[] | undefined

/** The reduced shape, and for each element of the input the index of its output element. */
function reduction(shape: Shape, dims: Dims, keepdim: boolean): { reduced: Shape; target: number[] } {
  const set = new Set((dims === undefined ? shape.map((_, d) => d) : [dims].flat()).map((d) => (d < 0 ? d + shape.length : d)))
  const kept = shape.map((size, d) => (set.has(d) ? 1 : size))
  const [strides, outStrides] = [rowMajorStrides(shape), rowMajorStrides(kept)]
  const target = Array.from({ length: sizeOf(shape) }, (_, i) =>
    shape.reduce((at, size, d) => at + (set.has(d) ? 0 : (Math.floor(i / strides[d]!) % size) * outStrides[d]!), 0),
  )
  return { reduced: keepdim ? kept : kept.filter((_, d) => !set.has(d)), target }
}

/** Results and gradients in float64. The index of a maximum counts along the reduced dims in row-major order. */
function reference(name: 'sum' | 'mean' | 'max', x: ArrayLike<number>, shape: Shape, dims: Dims, keepdim = false) {
  const { reduced, target } = reduction(shape, dims, keepdim)
  const size = sizeOf(reduced)
  const count = x.length / size
  const cotangent = normals(size, 2)
  const output = new Float64Array(size).fill(name === 'max' ? -Infinity : 0)
  const first = new Array<number>(size)
  const place = new Int32Array(size)
  const seen = new Int32Array(size)
  target.forEach((at, i) => {
    if (name !== 'max') output[at]! += name === 'mean' ? x[i]! / count : x[i]!
    else if (x[i]! > output[at]!) {
      output[at] = x[i]!
      first[at] = i
      place[at] = seen[at]!
    }
    seen[at]!++
  })
  const gradient = Float64Array.from(target, (at, i) =>
    name === 'sum' ? cotangent[at]! : name === 'mean' ? cotangent[at]! / count : first[at] === i ? cotangent[at]! : 0,
  )
  return { expected: { shape: reduced, output, cotangent, gradients: [gradient] } satisfies ExpectedOp, place, reduced }
}

const ops = { sum, mean, max }
const names = ['sum', 'mean', 'max'] as const

const SIZES = [1, 7, 31, 33, 129, 257, 1025]
const SHAPES: [shape: Shape, dims: Dims][] = [
  [[], undefined],
  [[], -1],
  ...SIZES.flatMap((n): [Shape, Dims][] => [
    [[n], undefined],
    [[n, 3], 0],
    [[5, n], -1],
    [[3, n, 4], 1],
    [[2, 3, n, 5], -2],
    [
      [n, 2, 3],
      [1, 2],
    ],
  ]),
  [[4, 5, 6], undefined],
  [
    [4, 5, 6],
    [0, 1],
  ],
  [
    [4, 5, 6],
    [0, 2],
  ],
  [
    [4, 5, 6],
    [-1, 0],
  ],
  [
    [2, 3, 4, 5],
    [0, 2],
  ],
  [
    [2, 3, 4, 5],
    [3, 1],
  ],
  [
    [4, 1, 6],
    [0, 2],
  ],
  [[4, 1, 6], 1],
  [[1, 1], undefined],
  [[33, 8], []],
  [[700, 64], 0],
  [[3, 5000], 1],
]

for (const [shape, dims] of SHAPES) {
  for (const name of names) {
    test(`${name} of [${shape}] over ${JSON.stringify(dims)}`, async () => {
      const x = normals(sizeOf(shape), 1)
      for (const keepdim of [false, true]) {
        const { expected } = reference(name, x, shape, dims, keepdim)
        await checkOp(name, (t) => ops[name](t, dims, keepdim), [leaf(x, shape)], expected)
      }
    })
  }
}

/** Chains of views by name. */
const VIEWS: Record<string, (t: Tensor) => Tensor> = {
  transposed: (t) => transpose(t, 0, 2),
  'rows permuted': (t) => permute(t, [1, 0, 2]),
  'part of the columns': (t) => slice(t, [[], [], [4, 8]]),
  'part of every dim': (t) => slice(t, [[1, 4], [2, 7], [3]]),
  'part of a transposed one': (t) => slice(transpose(t, 1, 2), [[], [1, 6], [2, -1]]),
  broadcast: (t) => broadcastTo(slice(t, [[1, 2], [], [2, 10]]), [3, 9, 8]),
  'split and merged': (t) => reshape(permute(reshape(t, [4, 3, 3, 12]), [0, 2, 1, 3]), [4, 9, 12]),
}

for (const [what, chain] of Object.entries(VIEWS)) {
  for (const dims of [0, 1, 2, [0, 1], [0, 2], undefined] as Dims[]) {
    test(`views: ${what} over ${JSON.stringify(dims)}`, async () => {
      const x = normals(4 * 9 * 12, 5)
      const plain = chain(tensor(x, { shape: [4, 9, 12] }))
      const values = (await plain.contiguous().data()) as Float32Array
      for (const name of names) {
        const { expected } = reference(name, values, plain.shape, dims)
        const source = leaf(x, [4, 9, 12])
        const y = ops[name](chain(source), dims)
        assertClose(await y.data(), expected.output, 1e-5, `${name}: output`)
        // Other tests check the gradients of views, so a leaf with the view's values stands in for the view here.
        await checkOp(name, (t) => ops[name](t, dims), [leaf(values, plain.shape)], expected)
      }
      const { place } = reference('max', values, plain.shape, dims)
      if (typeof dims === 'number' || dims === undefined) {
        assertClose(await argmax(plain, dims).data(), place, 0, 'argmax')
      }
    })
  }
}
for (const dims of [0, 1, 2, [1, 2], [0, 2]] as Dims[]) {
  test(`a leaf stored back to front over ${JSON.stringify(dims)}`, async () => {
    const shape = [4, 9, 8]
    const x = normals(sizeOf(shape), 3)
    for (const name of names) {
      const { expected } = reference(name, x, shape, dims)
      await checkOp(name, (t) => ops[name](t, dims), [stridedLeaf(x, shape)], expected)
    }
  })
}

test('the gradient may be a strided view', async () => {
  const x = leaf(normals(5 * 6 * 4, 1), [5, 6, 4])
  const cotangent = normals(5 * 4, 2)
  for (const name of names) {
    const y = transpose(ops[name](x, 1), 0, 1)
    backward(y, tensor(cotangent, { shape: [4, 5] }))
    const { expected } = reference(name, await x.data(), [5, 6, 4], 1)
    const untransposed = Float32Array.from(cotangent, (_, i) => cotangent[(i % 4) * 5 + Math.floor(i / 4)]!)
    const gradient = Float64Array.from(expected.gradients[0]!, (value, i) => {
      const at = Math.floor(i / 24) * 4 + (i % 4)
      return value === 0 ? 0 : (value * untransposed[at]!) / expected.cotangent[at]!
    })
    assertClose(await x.grad!.data(), gradient, 1e-4, name)
    x.grad = undefined
  }
})

for (const n of SIZES) {
  test(`argmax of ${n} along each place`, async () => {
    for (const [shape, dim] of [
      [[n], 0],
      [[5, n], 1],
      [[n, 12], 0],
      [[3, n, 5], 1],
    ] as [Shape, number][]) {
      const random = testRandom(n)
      const x = Float32Array.from({ length: sizeOf(shape) }, () => Math.floor(random() * 5))
      const { place, reduced } = reference('max', x, shape, dim)
      const indices = argmax(tensor(x, { shape }), dim)
      if (indices.dtype !== 'int32' || `${indices.shape}` !== `${reduced}`) throw new Error(`[${indices.shape}]`)
      assertClose(await indices.data(), place, 0, `[${shape}]`)
    }
  })
}

test('a million elements: sum, mean and max of all, and along each dim', async () => {
  const shape = [1000, 1000]
  const x = normals(1_000_000, 7).map((value) => value + 0.5)
  const t = tensor(x, { shape })
  for (const dims of [undefined, 0, 1] as Dims[]) {
    for (const name of names) {
      const { expected } = reference(name, x, shape, dims)
      assertClose(await ops[name](t, dims).data(), expected.output, 1e-6, `${name} over ${dims}`)
    }
    const { place } = reference('max', x, shape, dims)
    assertClose(await argmax(t, dims as number | undefined).data(), place, 0, `argmax over ${dims}`)
  }
  const flat = reshape(t, [1_000_000])
  assertClose(await sum(flat).data(), reference('sum', x, [1_000_000], 0).expected.output, 1e-6, 'flat')
})

test('int32: exact sums that wrap around, maxima that float32 could not tell apart', async () => {
  const random = testRandom(3)
  const x = Int32Array.from({ length: 33 * 40 }, () => Math.floor(random() * 2 ** 32) - 2 ** 31)
  const t = tensor(x, { shape: [33, 40] })
  const sums = new Int32Array(40)
  x.forEach((value, i) => {
    sums[i % 40]! += value
  })
  const over0 = sum(t, 0)
  if (over0.dtype !== 'int32' || `${await over0.data()}` !== `${sums}`) throw new Error(`sum: ${await over0.data()}`)
  const all = x.reduce((total, value) => (total + value) | 0, 0)
  if ((await sum(t).item()) !== all) throw new Error(`sum of all: ${await sum(t).item()}, expected ${all}`)
  const near = tensor(
    Int32Array.from({ length: 40 }, (_, i) => 2 ** 30 + ((i * 7) % 37)),
    { shape: [4, 10] },
  )
  const values = (await near.data()) as Int32Array
  const largest = [0, 1, 2, 3].map((row) => Math.max(...values.subarray(10 * row, 10 * row + 10)))
  if (`${await max(near, 1).data()}` !== `${largest}`) throw new Error(`max: ${await max(near, 1).data()}`)
  const where = largest.map((value, row) => values.subarray(10 * row, 10 * row + 10).indexOf(value))
  if (`${await argmax(near, 1).data()}` !== `${where}`) throw new Error(`argmax: ${await argmax(near, 1).data()}`)
})

test('ties: the first maximum counts, and takes the whole gradient', async () => {
  const x = leaf([2, 5, 5, 1, 5, 0, 0, 0, 0, 0], [2, 5])
  assertClose(await argmax(x, 1).data(), [1, 0], 0, 'argmax')
  assertClose(await argmax(x).data(), [1], 0, 'argmax of all')
  backward(max(x, 1), tensor([3, 4]))
  assertClose(await x.grad!.data(), [0, 3, 0, 0, 0, 4, 0, 0, 0, 0], 0, 'gradient')
})

for (const [kase, dim] of [
  ['rows', 1],
  ['columns', 0],
] as const) {
  test(`max.${kase} as PyTorch`, async () => {
    const stored = (key: string) => golden.get(`max.${kase}.${key}`)!
    const { shape, data } = stored('x')
    await checkOp('max', (t) => max(t, dim), [leaf(data, shape)], {
      shape: stored('output').shape,
      output: stored('output').data,
      cotangent: stored('cotangent').data,
      gradients: [stored('grad.x').data],
    })
    assertClose(await argmax(leaf(data, shape), dim).data(), stored('indices').data, 0, 'indices')
  })
}

test('a result is a tensor of its own, even where nothing is reduced', async () => {
  const x = leaf([1, 2, 3], [3, 1])
  for (const y of [sum(x, 1), mean(x, [1], true), max(x, []), sum(x, [])]) {
    if (y === x) throw new Error('returned its input')
    y.dispose()
  }
  assertClose(await x.data(), [1, 2, 3], 0, 'the input')
})

test('gradients of two reductions of one tensor add up', async () => {
  const x = leaf(normals(12, 1), [3, 4])
  backward(add(sum(mean(x, 0)), sum(x)))
  assertClose(await x.grad!.data(), new Float64Array(12).fill(1 + 1 / 3), 1e-6, 'gradient')
})

test('refuses what it cannot take', () => {
  const x = tensor(new Float32Array(6), { shape: [2, 3] })
  for (const [name, op] of Object.entries({ sum, mean, max })) {
    assertShapeError(() => op(x, 2), `${name}: dim 2`)
    assertShapeError(() => op(x, -3), `${name}: dim -3`)
    assertShapeError(() => op(x, [0, -2]), `${name}: dims [0,-2] name a dim twice`)
  }
  assertShapeError(() => argmax(x, 2), 'argmax: dim 2')
  assertShapeError(() => mean(tensor([1, 2], { dtype: 'int32' })), 'mean: got int32')
})

test('ends', () => device.destroy())
run()
