import { backward } from '../../engine/autograd/backward.ts'
import { cummax, cumprod, requestDevice, type Shape, tensor } from '../../engine/index.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { axisViewOf } from '../../engine/ops/reduceDims.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('running products and maxima')

const SHAPES: [shape: Shape, dim: number][] = [
  [[], 0],
  [[33], 0],
  [[5, 129], -1],
  [[40, 3], 0],
  [[3, 7, 5], 1],
]

for (const [shape, dim] of SHAPES) {
  test(`[${shape}] along ${dim}`, async () => {
    const { outer, n, inner } = axisViewOf('scan', shape, dim)
    const size = sizeOf(shape)
    const x = normals(size, 1).map((value, i) => (i % 41 === 5 ? 0 : Math.sign(value) + value / 16))
    const cotangent = normals(size, 2)
    const [products, maxima] = [new Float64Array(size), new Float64Array(size)]
    const [toProducts, toMaxima] = [new Float64Array(size), new Float64Array(size)]
    for (let line = 0; line < outer * inner; line++) {
      const at = (k: number) => (Math.floor(line / inner) * n + k) * inner + (line % inner)
      let [product, best] = [1, 0]
      for (let k = 0; k < n; k++) {
        product *= x[at(k)]!
        products[at(k)] = product
        if (x[at(k)]! >= x[at(best)]!) best = k
        maxima[at(k)] = x[at(best)]!
        toMaxima[at(best)]! += cotangent[at(k)]!
        for (let i = 0; i <= k; i++) {
          let others = 1
          for (let j = 0; j <= k; j++) if (j !== i) others *= x[at(j)]!
          toProducts[at(i)]! += cotangent[at(k)]! * others
        }
      }
    }
    for (const make of [leaf, stridedLeaf]) {
      const common = { shape, cotangent }
      await checkOp('cumprod', (t) => cumprod(t!, dim), [make(x, shape)], {
        ...common,
        output: products,
        gradients: [toProducts],
      })
      await checkOp('cummax', (t) => cummax(t!, dim), [make(x, shape)], { ...common, output: maxima, gradients: [toMaxima] })
    }
  })
}

test('cumprod.zeros as PyTorch', async () => {
  const stored = (key: string) => golden.get(`cumprod.zeros.${key}`)!
  const { shape, data } = stored('x')
  await checkOp('cumprod', (t) => cumprod(t!, 1), [leaf(data, shape)], {
    shape,
    output: stored('output').data,
    cotangent: stored('cotangent').data,
    gradients: [stored('grad.x').data],
  })
})

test('long lines of ones: gradients are long sums', async () => {
  const n = 40_003
  const x = leaf(new Float32Array(n).fill(1), [n])
  backward(cumprod(x, 0), tensor(new Float32Array(n).fill(0.1)))
  const gradient = await x.grad!.data()
  for (const k of [0, 1000, n - 1]) {
    const exact = (n - k) * Math.fround(0.1)
    if (!(Math.abs(gradient[k]! - exact) <= 1e-6 * exact)) throw new Error(`gradient ${k}: ${gradient[k]}, exactly ${exact}`)
  }
})

test('special values, int32 and float16', async () => {
  const running = await cummax(tensor([-Infinity, 1, NaN, Infinity, 0]), 0).data()
  if (`${running}` !== `${[-Infinity, 1, NaN, NaN, NaN]}`) throw new Error(`cummax: ${running}`)
  const products = await cumprod(tensor([2, NaN, 0]), 0).data()
  if (`${products}` !== `${[2, NaN, NaN]}`) throw new Error(`cumprod: ${products}`)
  assertClose(await cumprod(tensor(Int32Array.of(65536, 65537, 3)), 0).data(), [65536, 65536, 196608], 0, 'int32')
  assertClose(await cummax(tensor(Int32Array.of(-5, 7, 2)), 0).data(), [-5, 7, 7], 0, 'int32')
  if (!device.capabilities.f16) return
  const half = tensor([2, 0.5, 3], { dtype: 'float16', requiresGrad: true })
  const y = cumprod(half, 0)
  if (y.dtype !== 'float16') throw new Error(y.dtype)
  assertClose(await y.data(), [2, 1, 3], 0, 'float16')
  backward(y, tensor([1, 1, 1], { dtype: 'float16' }))
  assertClose(await half.grad!.data(), [3, 8, 1], 0, 'gradient')
})

test('refuses a dim that is not there', () => {
  assertShapeError(() => cumprod(tensor([1, 2]), 1), 'cumprod: dim 1')
  assertShapeError(() => cummax(tensor([1, 2]), -2), 'cummax: dim -2')
})

test('ends', () => device.destroy())
run()
