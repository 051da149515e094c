import { backward } from '../../engine/autograd/backward.ts'
import { argsort, requestDevice, type Shape, sort, tensor, topk, transpose } from '../../engine/index.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { axisViewOf } from '../../engine/ops/reduceDims.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('sort ops')

/** The first `count` indices along a dim, by a stable sort of each line. NaN comes last, or first where it is the largest. */
function ordered(x: ArrayLike<number>, shape: Shape, dim: number, count: number, sign: 1 | -1, nanFirst = false) {
  const { outer, n, inner } = axisViewOf('sort', shape, dim)
  const [indices, sources] = [
    [0, 0],
    [0, 0],
  ].map(() => new Array<number>(outer * count * inner)) as [number[], number[]]
  const late = (value: number) => (Number.isNaN(value) ? (nanFirst ? -1 : 1) : 0)
  for (let line = 0; line < outer * inner; line++) {
    const at = (k: number) => (Math.floor(line / inner) * n + k) * inner + (line % inner)
    const order = Array.from({ length: n }, (_, k) => k)
    order.sort((a, b) => late(x[at(a)]!) - late(x[at(b)]!) || sign * (x[at(a)]! - x[at(b)]!) || a - b)
    for (let k = 0; k < count; k++) {
      const to = (Math.floor(line / inner) * count + k) * inner + (line % inner)
      indices[to] = order[k]!
      sources[to] = at(order[k]!)
    }
  }
  return { indices, sources }
}

/** Numbers of which many are equal. */
function ties(size: number, seed = 1): Float32Array {
  const random = testRandom(seed)
  return Float32Array.from({ length: size }, () => Math.floor(50 * random()) - 25)
}

const SHAPES: [shape: Shape, dim: number][] = [
  [[], -1],
  ...[1, 2, 16, 17, 33, 129, 1025].map((n): [Shape, number] => [[n], 0]),
  [[5, 64], -1],
  [[40, 3], 0],
  [[3, 70, 4], 1],
  [[2, 3000], 1],
]

for (const [shape, dim] of SHAPES) {
  for (const descending of [false, true]) {
    test(`sort [${shape}] along ${dim}${descending ? ', descending' : ''}`, async () => {
      for (const x of [normals(sizeOf(shape), 1), ties(sizeOf(shape))]) {
        const { indices, sources } = ordered(x, shape, dim, shape.at(dim) ?? 1, descending ? -1 : 1)
        const cotangent = normals(x.length, 2)
        const gradient = new Float64Array(x.length)
        for (const [i, at] of sources.entries()) gradient[at] = cotangent[i]!
        const output = sources.map((at) => x[at]!)
        for (const make of [leaf, stridedLeaf]) {
          const expected = { shape, output, cotangent, gradients: [gradient] }
          await checkOp('sort', (t) => sort(t!, dim, { descending })[0], [make(x, shape)], expected)
          assertClose(await argsort(make(x, shape), dim, { descending }).data(), indices, 0, 'argsort')
        }
      }
    })
  }
}

const TOPS: [shape: Shape, dim: number, k: number][] = [
  [[], 0, 1],
  [[7], 0, 7],
  [[9, 40], 1, 1],
  [[9, 40], 1, 4],
  [[40, 5], 0, 13],
  [[3, 100, 2], 1, 5],
  [[2, 3000], -1, 10],
  [[2, 3000], -1, 32],
  [[1, 3000], -1, 100],
]

for (const [shape, dim, k] of TOPS) {
  test(`topk ${k} of [${shape}] along ${dim}`, async () => {
    for (const largest of [true, false]) {
      for (const x of [normals(sizeOf(shape), 1), ties(sizeOf(shape))]) {
        const { indices, sources } = ordered(x, shape, dim, k, largest ? -1 : 1)
        const to = shape.length > 0 ? shape.with(dim, k) : shape
        const cotangent = normals(sources.length, 2)
        const gradient = new Float64Array(x.length)
        for (const [i, at] of sources.entries()) gradient[at] = cotangent[i]!
        for (const make of [leaf, stridedLeaf]) {
          const expected = { shape: to, output: sources.map((at) => x[at]!), cotangent, gradients: [gradient] }
          await checkOp('topk', (t) => topk(t!, k, dim, { largest })[0], [make(x, shape)], expected)
          assertClose(await topk(make(x, shape), k, dim, { largest })[1].data(), indices, 0, 'indices')
        }
      }
    }
  })
}

test('NaN is last in both directions, and for topk the largest; -0 and 0 are equal and stay as they are', async () => {
  const I = Infinity
  const x = [0, NaN, -I, 3, -0, I, NaN, -3, -0, 0]
  const check = async (
    what: string,
    [values, indices]: [ReturnType<typeof tensor>, ReturnType<typeof tensor>],
    want: number[],
  ) => {
    assertClose(await indices.data(), want, 0, what)
    const got = await values.data()
    if (!want.every((k, i) => Object.is(x[k], got[i]))) throw new Error(`${what}: ${got}`)
  }
  await check('sort', sort(tensor(x)), [2, 7, 0, 4, 8, 9, 3, 5, 1, 6])
  await check('descending', sort(tensor(x), 0, { descending: true }), [5, 3, 0, 4, 8, 9, 7, 2, 1, 6])
  await check('topk', topk(tensor(x), 4), [1, 6, 5, 3])
  await check('the smallest', topk(tensor(x), 4, 0, { largest: false }), [2, 7, 0, 4])
  await check('topk of all', topk(tensor(x), 10), [1, 6, 5, 3, 0, 4, 8, 9, 7, 2])
})

test('int32 that float32 could not tell apart, and float16', async () => {
  const x = Int32Array.of(2 ** 30 + 1, -(2 ** 31), 2 ** 30, 2 ** 31 - 1, 2 ** 30 + 2)
  const [values, indices] = sort(tensor(x))
  assertClose(await values.data(), x.slice().sort(), 0, 'int32')
  assertClose(await indices.data(), [1, 2, 0, 4, 3], 0, 'indices')
  assertClose(await topk(tensor(x), 2)[1].data(), [3, 4], 0, 'topk')
  if (!device.capabilities.f16) return
  const half = tensor([3, -1, 2, 5, 0.5], { dtype: 'float16', requiresGrad: true })
  const [top] = topk(half, 2)
  if (top.dtype !== 'float16') throw new Error(top.dtype)
  assertClose(await top.data(), [5, 3], 0, 'float16')
  backward(top, tensor([1, 2], { dtype: 'float16' }))
  assertClose(await half.grad!.data(), [2, 0, 0, 1, 0], 0, 'gradient')
})

test('a strided view', async () => {
  const x = normals(60, 1)
  const view = transpose(tensor(x, { shape: [6, 10] }), 0, 1)
  const values = await view.data()
  assertClose(await argsort(view, 1).data(), ordered(values, [10, 6], 1, 6, 1).indices, 0, 'argsort')
})

test('refuses what it cannot take', () => {
  const x = tensor(new Float32Array(6), { shape: [2, 3] })
  assertShapeError(() => sort(x, 2), 'sort: dim 2')
  assertShapeError(() => argsort(x, -3), 'argsort: dim -3')
  assertShapeError(() => topk(x, 4), 'topk: got k 4 for dim 1 of [2, 3], takes at most 3')
})

test('ends', () => device.destroy())
run()
