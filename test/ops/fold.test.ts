// variance, std, norm, logsumexp, prod, any, all and min against plain loops in float64, and PyTorch's values.
import { backward } from '../../engine/autograd/backward.ts'
import {
  all,
  any,
  argmin,
  logsumexp,
  min,
  norm,
  permute,
  prod,
  requestDevice,
  type Shape,
  std,
  type Tensor,
  tensor,
  variance,
} from '../../engine/index.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { rowMajorStrides } from '../../kernels/layout.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('more reductions')

type Dims = number | number[] | undefined

/** A reduction of a list, and its gradient for the cotangent 1. */
interface Reduction {
  op: (x: Tensor, dim?: Dims, keepdim?: boolean) => Tensor
  f: (values: number[]) => number
  df: (values: number[]) => number[]
}

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const spread = (values: number[], correction: number) => {
  const mean = meanOf(values)
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - correction)
}
const product = (values: number[]) => values.reduce((total, value) => total * value, 1)
const lse = (values: number[]) => {
  const largest = Math.max(...values)
  return largest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0))
}

const REDUCTIONS: Record<string, Reduction> = {
  norm: {
    op: norm,
    f: (values) => Math.hypot(...values),
    df: (values) => values.map((value) => value / Math.hypot(...values)),
  },
  variance: {
    op: (x, dim, keepdim = false) => variance(x, dim, { correction: 0, keepdim }),
    f: (values) => spread(values, 0),
    df: (values) => values.map((value) => (2 * (value - meanOf(values))) / values.length),
  },
  std: {
    op: (x, dim, keepdim = false) => std(x, dim, { correction: 0.5, keepdim }),
    f: (values) => Math.sqrt(spread(values, 0.5)),
    df: (values) => {
      const y = Math.sqrt(spread(values, 0.5))
      return values.map((value) => (y === 0 ? 0 : (value - meanOf(values)) / (values.length - 0.5) / y))
    },
  },
  logsumexp: { op: logsumexp, f: lse, df: (values) => values.map((value) => Math.exp(value - lse(values))) },
  prod: { op: prod, f: product, df: (values) => values.map((_, i) => product(values.toSpliced(i, 1))) },
  min: {
    op: min,
    f: (values) => Math.min(...values),
    df: (values) => values.map((_, i) => (values.indexOf(Math.min(...values)) === i ? 1 : 0)),
  },
}

function expectedOf({ f, df }: Reduction, x: ArrayLike<number>, shape: Shape, dims: Dims, keepdim: boolean) {
  const set = new Set((dims === undefined ? shape.map((_, d) => d) : [dims].flat()).map((d) => (d < 0 ? d + shape.length : d)))
  const kept = shape.map((size, d) => (set.has(d) ? 1 : size))
  const [strides, outStrides] = [rowMajorStrides(shape), rowMajorStrides(kept)]
  const lists = Array.from({ length: sizeOf(kept) }, () => [] as number[])
  const target = Array.from({ length: x.length }, (_, i) => {
    const at = shape.reduce((sum, size, d) => sum + (set.has(d) ? 0 : (Math.floor(i / strides[d]!) % size) * outStrides[d]!), 0)
    lists[at]!.push(i)
    return at
  })
  const cotangent = normals(lists.length, 2)
  const gradient = new Float64Array(x.length)
  for (const [at, list] of lists.entries()) {
    const slopes = df(list.map((i) => x[i]!))
    for (const [k, i] of list.entries()) gradient[i] = cotangent[at]! * slopes[k]!
  }
  const output = lists.map((list) => f(list.map((i) => x[i]!)))
  return { target, shape: keepdim ? kept : kept.filter((_, d) => !set.has(d)), output, cotangent, gradients: [gradient] }
}

const SHAPES: [shape: Shape, dims: Dims][] = [
  [[], undefined],
  [[33], 0],
  [[5, 129], -1],
  [[40, 36], 0],
  [[3, 7, 5], 1],
  [
    [3, 4, 5],
    [0, 2],
  ],
  [
    [2, 3, 4, 5],
    [3, 1],
  ],
  [[4, 5], undefined],
]

for (const [name, reduction] of Object.entries(REDUCTIONS)) {
  test(`${name} over dims`, async () => {
    for (const [shape, dims] of SHAPES) {
      // Products of normal numbers would leave the range of what can be compared.
      const x = normals(sizeOf(shape), 1).map((value) => (name === 'prod' ? 1 + value / 16 : value))
      for (const keepdim of [false, true]) {
        const expected = expectedOf(reduction, x, shape, dims, keepdim)
        for (const make of [leaf, stridedLeaf]) {
          await checkOp(`${name} of [${shape}]`, (t) => reduction.op(t!, dims, keepdim), [make(x, shape)], expected)
        }
      }
    }
  })
}

test('long rows, in pieces: far from 0, and of large numbers', async () => {
  const n = 200_003
  const x = normals(n, 3)
  const far = x.map((value) => 1000 + value)
  const values = Array.from(far)
  assertClose(await variance(tensor(far)).data(), [spread(values, 1)], 2e-6, 'variance')
  assertClose(await std(tensor(far), 0).data(), [Math.sqrt(spread(values, 1))], 2e-6, 'std')
  assertClose(await norm(tensor(far)).data(), [Math.sqrt(values.reduce((sum, v) => sum + v * v, 0))], 1e-6, 'norm')
  const scaled = Array.from(x, (value) => Math.fround(300 * value))
  const largest = scaled.reduce((most, value) => Math.max(most, value), 0)
  const sum = scaled.reduce((total, value) => total + Math.exp(value - largest), 0)
  assertClose(await logsumexp(tensor(scaled)).data(), [largest + Math.log(sum)], 1e-6, 'logsumexp')
  assertClose(await logsumexp(tensor(new Float32Array(n))).data(), [Math.log(n)], 1e-6, 'equal numbers')
  const found = values.reduce((least, value, i) => (value < values[least]! ? i : least), 0)
  assertClose(await min(tensor(far)).data(), [values[found]!], 0, 'min')
  assertClose(await argmin(tensor(far)).data(), [found], 0, 'argmin')
})

for (const [name, op] of [
  ['prod.zeros', (x: Tensor) => prod(x, 1)],
  ['norm.zeros', (x: Tensor) => norm(x, [0, 2])],
  ['std.zeros', (x: Tensor) => std(x, 2)],
  ['variance.far', (x: Tensor) => variance(x, [0, 2])],
  ['variance.population', (x: Tensor) => variance(x, 1, { correction: 0 })],
  ['logsumexp.large', (x: Tensor) => logsumexp(x, [0, 2])],
  ['min.rows', (x: Tensor) => min(x, 1)],
] as [string, (x: Tensor) => Tensor][]) {
  test(`${name} as PyTorch`, async () => {
    const stored = (key: string) => golden.get(`${name}.${key}`)!
    const { shape, data } = stored('x')
    await checkOp(name, (t) => op(t!), [leaf(data, shape)], {
      shape: stored('output').shape,
      output: stored('output').data,
      cotangent: stored('cotangent').data,
      gradients: [stored('grad.x').data],
    })
  })
}

test('any and all: int32, NaN is true, -0 is not', async () => {
  const x = tensor([0, -0, 0, NaN, 1, -1e-30, 0, 2], { shape: [4, 2], requiresGrad: true })
  for (const [t, dims, want] of [
    [any(x, 1), 1, [0, 1, 1, 1]],
    [all(x, 1), 1, [0, 0, 1, 0]],
    [any(x), undefined, [1]],
    [all(x, [0, 1], true), [0, 1], [0]],
    [all(tensor(Int32Array.of(-(2 ** 31), 5))), undefined, [1]],
    [any(tensor(Int32Array.of(0, 0))), undefined, [0]],
  ] as [Tensor, Dims, number[]][]) {
    if (t.dtype !== 'int32' || t.requiresGrad) throw new Error(`${t.dtype}, requiresGrad ${t.requiresGrad}`)
    assertClose(await t.data(), want, 0, `over ${dims}`)
  }
})

test('special values as in PyTorch', async () => {
  const I = Infinity
  const check = async (what: string, op: (x: Tensor) => Tensor, x: number[], want: number, dx?: number[]) => {
    const input = leaf(x, [x.length])
    const y = op(input)
    const got = await y.item()
    if (!(Object.is(got, want) || Math.abs(got - want) <= 1e-6 * Math.abs(want))) throw new Error(`${what}: ${got}`)
    if (!dx) return
    backward(y)
    const gradient = await input.grad!.data()
    if (!dx.every((value, i) => Object.is(Math.fround(value), gradient[i]! + 0)))
      throw new Error(`${what}: gradient ${gradient}`)
  }
  await check('min', (x) => min(x), [1, NaN, -I, 2], NaN, [0, 1, 0, 0])
  await check('min', (x) => min(x), [3, -I, 1, -I], -I, [0, 1, 0, 0])
  await check('logsumexp', (x) => logsumexp(x), [-I, -I, -I], -I)
  await check('logsumexp', (x) => logsumexp(x), [1, -I], 1, [1, 0])
  await check('logsumexp', (x) => logsumexp(x), [I, 1, -I], I)
  await check('logsumexp', (x) => logsumexp(x), [NaN, I], NaN)
  await check('logsumexp', (x) => logsumexp(x), [3.4e38, -3.4e38], 3.4e38)
  await check('norm', (x) => norm(x), [0, 0], 0, [0, 0])
  await check('norm', (x) => norm(x), [NaN, 1], NaN)
  await check('norm', (x) => norm(x), [-I, 1], I)
  await check('std', (x) => std(x), [2, 2], 0, [0, 0])
  await check('variance', (x) => variance(x), [5], NaN)
  await check('variance', (x) => variance(x, 0, { correction: 2 }), [5, 6], I)
  await check('variance', (x) => variance(x), [I, 1, 2], NaN)
  await check('variance', (x) => variance(x), [1, NaN, 2], NaN)
  await check('prod', (x) => prod(x), [0, I], NaN)
  await check('prod', (x) => prod(x), [0, NaN, 2], NaN)
  await check('prod', (x) => prod(x), [0, 3, -2], 0, [-6, 0, 0])
  await check('prod', (x) => prod(x), [0, 3, 0], 0, [0, 0, 0])
  const any0 = await argmin(tensor([2, NaN, 0, NaN])).item()
  if (any0 !== 1) throw new Error(`argmin ${any0}`)
})

test('int32 and float16', async () => {
  assertClose(await prod(tensor(Int32Array.of(65536, 65537, 3))).data(), [Math.imul(65536 * 3, 65537)], 0, 'prod wraps')
  assertClose(await min(tensor(Int32Array.of(3, -(2 ** 31), 5))).data(), [-(2 ** 31)], 0, 'min')
  if (!device.capabilities.f16) return
  for (const [name, { op, f, df }] of Object.entries(REDUCTIONS)) {
    if (name === 'min') continue
    const x = Array.from({ length: 24 }, (_, i) => 1 + ((i * 7) % 8) / 8)
    const input = tensor(x, { dtype: 'float16', requiresGrad: true })
    const y = op(input)
    if (y.dtype !== 'float16') throw new Error(`${name}: ${y.dtype}`)
    assertClose(await y.data(), [f(x)], 1e-3, name)
    backward(y)
    assertClose(await input.grad!.data(), df(x), 2e-3, `${name}: gradient`)
  }
})

test('a permuted view is read where it lies', async () => {
  const x = normals(60, 1)
  const t = permute(tensor(x, { shape: [3, 4, 5] }), [2, 0, 1])
  const values = await t.data()
  const { output } = expectedOf(REDUCTIONS.variance!, values, [5, 3, 4], [0, 2], false)
  assertClose(await variance(t, [0, 2], { correction: 0 }).data(), output, 1e-5, 'variance')
})

test('refuses what it cannot take', () => {
  const [x, whole] = [tensor(new Float32Array(6), { shape: [2, 3] }), tensor(new Int32Array(2))]
  for (const [name, op] of Object.entries({ prod, norm, logsumexp, any, all, min, variance, std })) {
    assertShapeError(() => op(x, 2), `${name}: dim 2`)
    assertShapeError(() => op(x, [0, -2]), `${name}: dims [0,-2] name a dim twice`)
  }
  for (const [name, op] of Object.entries({ norm, logsumexp, variance, std })) {
    assertShapeError(() => op(whole), `${name}: got int32, takes float32 or float16`)
  }
  assertShapeError(() => argmin(x, 2), 'argmin: dim 2')
})

test('ends', () => device.destroy())
run()
