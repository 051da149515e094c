import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { packedAttention, scaledDotProductAttention } from '../../engine/ops/attention.ts'
import { permute } from '../../engine/ops/shape.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { view } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { type NdArray, ndarray, permuted } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('attention ops')

interface Dims {
  batch: number
  heads: number
  queries: number
  keys: number
  width: number
}

/** Operands and results of attention in float64, each [B, H, T, Dh]. */
interface Values {
  q: NdArray
  k: NdArray
  v: NdArray
  out: NdArray
  cotangent: NdArray
  dq: NdArray
  dk: NdArray
  dv: NdArray
}

/** Computes attention and its gradients for one head at a time, with the whole matrix of probabilities. */
function attend({ batch, heads, queries, keys, width }: Dims): Values {
  const ofQueries = [batch, heads, queries, width]
  const ofKeys = [batch, heads, keys, width]
  const random = (shape: Shape, seed: number) => ndarray(normals(sizeOf(shape), seed), shape)
  const zeros = (shape: Shape) => ndarray(new Float64Array(sizeOf(shape)), shape)
  const [q, k, v] = [random(ofQueries, 1), random(ofKeys, 2), random(ofKeys, 3)]
  const cotangent = random(ofQueries, 4)
  const [out, dq, dk, dv] = [zeros(ofQueries), zeros(ofQueries), zeros(ofKeys), zeros(ofKeys)]
  const scale = width ** -0.5
  const dot = (a: NdArray, i: number, b: NdArray, j: number) => {
    let sum = 0
    for (let d = 0; d < width; d++) sum += a.data[i * width + d]! * b.data[j * width + d]!
    return sum
  }
  const addTo = (a: NdArray, i: number, factor: number, b: NdArray, j: number) => {
    for (let d = 0; d < width; d++) a.data[i * width + d]! += factor * b.data[j * width + d]!
  }
  for (let head = 0; head < batch * heads; head++) {
    for (let i = head * queries; i < (head + 1) * queries; i++) {
      const rows = Array.from({ length: keys }, (_, j) => head * keys + j)
      const exps = rows.map((j) => Math.exp(scale * dot(q, i, k, j)))
      const total = exps.reduce((a, b) => a + b)
      const p = exps.map((e) => e / total)
      for (const [n, j] of rows.entries()) addTo(out, i, p[n]!, v, j)
      const dp = rows.map((j) => dot(cotangent, i, v, j))
      const mean = dp.reduce((sum, x, n) => sum + p[n]! * x, 0)
      rows.forEach((j, n) => {
        const ds = scale * p[n]! * (dp[n]! - mean)
        addTo(dq, i, ds, k, j)
        addTo(dk, j, ds, q, i)
        addTo(dv, j, p[n]!, cotangent, i)
      })
    }
  }
  return { q, k, v, out, cotangent, dq, dk, dv }
}

/** Packs operands [B, H, T, Dh] side by side as [B, T, blocks * H * Dh]. */
function pack(blocks: readonly NdArray[]): NdArray {
  const [batch, heads, tokens, width] = blocks[0]!.shape as [number, number, number, number]
  const rows = blocks.map((block) => permuted(block, [0, 2, 1, 3])) // [B, T, H, Dh]
  const size = heads * width
  const data = new Float64Array(blocks.length * batch * tokens * size)
  for (let row = 0; row < batch * tokens; row++) {
    rows.forEach((block, i) => {
      data.set(block.data.subarray(row * size, (row + 1) * size), (row * blocks.length + i) * size)
    })
  }
  return { shape: [batch, tokens, blocks.length * size], data }
}

const leafOf = ({ data, shape }: NdArray) => leaf(data, shape)

const DIMS: readonly Dims[] = [
  { batch: 1, heads: 1, queries: 1, keys: 1, width: 1 },
  { batch: 2, heads: 5, queries: 33, keys: 33, width: 7 },
  { batch: 3, heads: 2, queries: 17, keys: 17, width: 16 },
  { batch: 1, heads: 1, queries: 257, keys: 257, width: 16 },
  { batch: 2, heads: 3, queries: 1, keys: 65, width: 64 },
  { batch: 2, heads: 2, queries: 7, keys: 1, width: 64 },
]

for (const dims of DIMS) {
  const { heads, queries, keys } = dims
  const name = Object.entries(dims)
    .map(([key, value]) => `${key} ${value}`)
    .join(', ')

  test(`scaledDotProductAttention, ${name}`, async () => {
    const { q, k, v, out, cotangent, dq, dk, dv } = attend(dims)
    await checkOp('sdpa', scaledDotProductAttention, [q, k, v].map(leafOf), {
      shape: out.shape,
      output: out.data,
      cotangent: cotangent.data,
      gradients: [dq.data, dk.data, dv.data],
    })
  })

  if (queries !== keys) continue
  test(`packedAttention, ${name}`, async () => {
    const { q, k, v, out, cotangent, dq, dk, dv } = attend(dims)
    await checkOp('packedAttention', (qkv) => packedAttention(qkv, heads), [leafOf(pack([q, k, v]))], {
      shape: pack([out]).shape,
      output: pack([out]).data,
      cotangent: pack([cotangent]).data,
      gradients: [pack([dq, dk, dv]).data],
    })
  })
}

const ODD: Dims = { batch: 2, heads: 5, queries: 9, keys: 11, width: 7 }

test('operands whose last dim is not contiguous are copied', async () => {
  const { q, k, v, out, cotangent, dq, dk, dv } = attend(ODD)
  const inputs = [q, k, v].map(({ data, shape }) => stridedLeaf(data, shape))
  await checkOp('strided', scaledDotProductAttention, inputs, {
    shape: out.shape,
    output: out.data,
    cotangent: cotangent.data,
    gradients: [dq.data, dk.data, dv.data],
  })
})

test('heads of a [B, T, H, Dh] tensor are read where they lie', async () => {
  const { q, k, v, out, cotangent, dq, dk, dv } = attend(ODD)
  const inputs = [q, k, v].map((a) => leafOf(permuted(a, [0, 2, 1, 3])))
  const swap = [0, 2, 1, 3]
  await checkOp(
    'permuted',
    (...tensors) => {
      const [a, b, c] = tensors.map((t) => permute(t, swap))
      return permute(scaledDotProductAttention(a!, b!, c!), swap)
    },
    inputs,
    {
      shape: permuted(out, swap).shape,
      output: permuted(out, swap).data,
      cotangent: permuted(cotangent, swap).data,
      gradients: [dq, dk, dv].map((a) => permuted(a, swap).data),
    },
  )
})

test('packed rows inside wider ones, off any alignment', async () => {
  const { q, k, v, out, cotangent, dq, dk, dv } = attend({ ...ODD, queries: 11 })
  const { data, shape } = pack([q, k, v])
  const [batch, tokens, width] = shape as [number, number, number]
  const wide = new Float32Array(batch * tokens * (width + 5))
  for (let row = 0; row < batch * tokens; row++) wide.set(data.subarray(row * width, (row + 1) * width), row * (width + 5) + 3)
  const qkv = view(tensor(wide), { shape, strides: [tokens * (width + 5), width + 5, 1], offset: 3 })
  qkv.requiresGrad = true
  await checkOp('wide', (t) => packedAttention(t, ODD.heads), [qkv], {
    shape: pack([out]).shape,
    output: pack([out]).data,
    cotangent: pack([cotangent]).data,
    gradients: [pack([dq, dk, dv]).data],
  })
})

test('a cotangent that is a strided view', async () => {
  const dims = { ...ODD, queries: 11 }
  const { q, k, v, cotangent, dq, dk, dv } = attend(dims)
  const qkv = leafOf(pack([q, k, v]))
  const packed = pack([cotangent])
  const turned = permuted(packed, [2, 1, 0])
  const wrong = tensor(Float32Array.from(turned.data), { shape: turned.shape })
  backward(packedAttention(qkv, dims.heads), permute(wrong, [2, 1, 0]))
  assertClose(await qkv.grad!.data(), pack([dq, dk, dv]).data, 1e-4, 'gradient')
})

test('only the gradients that are wanted', async () => {
  const { q, k, v, out, cotangent, dq, dk, dv } = attend(ODD)
  const gradients = [dq.data, dk.data, dv.data]
  for (let wanted = 0; wanted < 3; wanted++) {
    const inputs = [q, k, v].map(leafOf)
    inputs.forEach((input, i) => {
      input.requiresGrad = i === wanted
    })
    await checkOp('wanted', scaledDotProductAttention, inputs, {
      shape: out.shape,
      output: out.data,
      cotangent: cotangent.data,
      gradients: gradients.map((gradient, i) => (i === wanted ? gradient : undefined)),
    })
  }
})

for (const kase of ['ordinary', 'large', 'oneQuery']) {
  test(`scaledDotProductAttention.${kase} as PyTorch`, async () => {
    const stored = (key: string) => golden.get(`scaledDotProductAttention.${kase}.${key}`)!
    const names = ['q', 'k', 'v']
    const inputs = names.map((name) => leaf(stored(name).data, stored(name).shape))
    await checkOp(kase, scaledDotProductAttention, inputs, {
      shape: stored('output').shape,
      output: stored('output').data,
      cotangent: stored('cotangent').data,
      gradients: names.map((name) => stored(`grad.${name}`).data),
    })
  })
}

test('shapes that do not fit', () => {
  const of = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  const q = of(2, 3, 4, 5)
  assertShapeError(() => scaledDotProductAttention(q, of(2, 3, 7, 5), of(2, 3, 6, 5)), 'scaledDotProductAttention: got')
  assertShapeError(() => scaledDotProductAttention(q, of(2, 3, 7, 4), of(2, 3, 7, 4)), '[B, H, Tk, Dh]')
  assertShapeError(() => scaledDotProductAttention(of(3, 4, 5), of(3, 4, 5), of(3, 4, 5)), '[3, 4, 5]')
  assertShapeError(() => packedAttention(of(2, 4, 30), 4), '3 * 4 * Dh')
  assertShapeError(() => packedAttention(of(2, 4, 30), 0), 'packedAttention: got float32 [2, 4, 30]')
  assertShapeError(() => packedAttention(tensor(new Int32Array(30), { shape: [1, 1, 30] }), 2), 'int32')
})

test('ends', () => device.destroy())
run()
