import { backward } from '../../engine/autograd/backward.ts'
import { capture } from '../../engine/capture.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { packedAttention, scaledDotProductAttention } from '../../engine/ops/attention.ts'
import type { AttentionOptions } from '../../engine/ops/attentionOptions.ts'
import { permute } from '../../engine/ops/shape.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { type Tensor, view } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { type NdArray, ndarray, permuted } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const masked = await loadGolden('attention')
const { test, slow, run } = suite('attention ops')

const sdpa = (q: Tensor, k: Tensor, v: Tensor) => scaledDotProductAttention(q, k, v)

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
    await checkOp('sdpa', sdpa, [q, k, v].map(leafOf), {
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
  await checkOp('strided', sdpa, inputs, {
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
    await checkOp('wanted', sdpa, inputs, {
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
    await checkOp(kase, sdpa, inputs, {
      shape: stored('output').shape,
      output: stored('output').data,
      cotangent: stored('cotangent').data,
      gradients: names.map((name) => stored(`grad.${name}`).data),
    })
  })
}

/** The options of each stored case; those of `causal` are also computed by an int32 triangle. */
const MASKED: Record<string, (mask: Tensor) => AttentionOptions> = {
  causal: () => ({ causal: true }),
  causalMoreKeys: () => ({ causal: true }),
  causalShared: (mask) => ({ causal: true, mask }),
  padding: (mask) => ({ mask, scale: 0.7 }),
  bias: (mask) => ({ mask }),
}

for (const [kase, optionsOf] of Object.entries(MASKED)) {
  for (const layout of ['rows', 'strided'] as const) {
    // The kernels' own tests have more sizes; here one case has other strides.
    const register = kase === 'causalMoreKeys' || (layout === 'strided' && kase !== 'bias') ? slow : test
    register(`scaledDotProductAttention with a mask as PyTorch: ${kase}, ${layout}`, async () => {
      const stored = (key: string) => masked.get(`${kase}.${key}`)!
      const names = ['q', 'k', 'v']
      const made = layout === 'rows' ? leaf : stridedLeaf
      const inputs = names.map((name) => made(stored(name).data, stored(name).shape))
      const { data, shape } = stored('mask')
      let mask = data instanceof Int32Array ? tensor(data, { shape }) : tensor(Float32Array.from(data), { shape })
      if (layout === 'strided') {
        // The same mask with its dims in memory the other way round.
        const back = shape.map((_, i) => shape.length - 1 - i)
        mask = permute(permute(mask, back).contiguous(), back)
      }
      await checkOp(kase, (q, k, v) => scaledDotProductAttention(q!, k!, v!, optionsOf(mask)), inputs, {
        shape: stored('output').shape,
        output: stored('output').data,
        cotangent: stored('cotangent').data,
        gradients: names.map((name) => stored(`grad.${name}`).data),
      })
    })
  }
}

test('packedAttention takes the same options', async () => {
  const stored = (key: string) => masked.get(`causal.${key}`)! as NdArray
  const heads = stored('q').shape[1]!
  await checkOp(
    'packed',
    (qkv) => packedAttention(qkv!, heads, { causal: true }),
    [leafOf(pack(['q', 'k', 'v'].map(stored)))],
    {
      shape: pack([stored('output')]).shape,
      output: pack([stored('output')]).data,
      cotangent: pack([stored('cotangent')]).data,
      gradients: [pack(['q', 'k', 'v'].map((name) => stored(`grad.${name}`))).data],
    },
  )
})

test('a query that sees nothing gives zeros, and so do its gradients; what is hidden may be NaN', async () => {
  const [T, S, D] = [6, 5, 4]
  const values = (tokens: number, seed: number) => normals(tokens * D, seed)
  const [q, k, v, cotangent] = [values(T, 1), values(S, 2), values(S, 3), values(T, 4)]
  // Query 2 sees nothing, and key 3 is seen by none.
  for (const rows of [q, cotangent]) rows.fill(Number.NaN, 2 * D, 3 * D)
  for (const rows of [k, v]) rows.fill(Number.NaN, 3 * D, 4 * D)
  const shown = Int32Array.from({ length: T * S }, (_, i) => Number(Math.floor(i / S) !== 2 && i % S !== 3))
  const [a, b, c] = [leaf(q, [1, 1, T, D]), leaf(k, [1, 1, S, D]), leaf(v, [1, 1, S, D])]
  const out = scaledDotProductAttention(a, b, c, { mask: tensor(shown, { shape: [T, S] }) })
  backward(out, tensor(cotangent, { shape: [1, 1, T, D] }))
  const zeros = (values: Float32Array, row: number) => values.subarray(row * D, (row + 1) * D).every((x) => x === 0)
  const results = await Promise.all([out, a.grad!, b.grad!, c.grad!].map((t) => t.data()))
  const [y, dq, dk, dv] = results as Float32Array[]
  for (const values of results) if (!values.every(Number.isFinite)) throw new Error(`not finite: ${values}`)
  if (!zeros(y!, 2) || !zeros(dq!, 2) || !zeros(dk!, 3) || !zeros(dv!, 3)) throw new Error('what is hidden is not 0')
})

test('dropout drops the share that it should, by the same mask forward and backward, eager and captured', async () => {
  const [B, H, T, S] = [2, 4, 33, 40]
  device.random.seed = 5
  // All probabilities are 1 / S and the values an identity, so the output is the mask.
  const q = leaf(new Float32Array(B * H * T * S), [B, H, T, S])
  const k = leaf(new Float32Array(B * S * S), [B, 1, S, S])
  const identity = Float32Array.from({ length: B * S * S }, (_, i) => Number(i % S === Math.floor(i / S) % S))
  const v = leaf(identity, [B, 1, S, S])
  const out = scaledDotProductAttention(q, k, v, { dropout: 0.3 })
  const mask = await out.data()
  const kept = 1 / 0.7 / S
  const dropped = mask.filter((x) => x === 0).length / mask.length
  if (!(Math.abs(dropped - 0.3) < 0.02)) throw new Error(`dropped ${dropped}`)
  if (!mask.every((x) => x === 0 || Math.abs(x - kept) < 1e-6)) throw new Error('a weight is neither dropped nor kept')
  backward(out, tensor(new Float32Array(out.size).fill(1), { shape: out.shape }))
  // The gradient of a value is the sum of its weights over all queries that see it.
  const expected = new Float64Array(B * S * S)
  for (let i = 0; i < mask.length; i++) {
    const [b, key] = [Math.floor(i / (H * T * S)), i % S]
    for (let d = 0; d < S; d++) expected[(b * S + key) * S + d]! += mask[i]!
  }
  assertClose(await v.grad!.data(), expected, 1e-5, 'dv')
  const step = capture(() => scaledDotProductAttention(q, k, v, { dropout: 0.3 }))
  device.random.seed = 5
  const replays = [await step().data(), await step().data()]
  if (`${replays[0]}` !== `${mask}`) throw new Error('a captured step drops others than an eager one')
  if (`${replays[0]}` === `${replays[1]}`) throw new Error('two replays drop the same')
})

test('options that do not fit', () => {
  const of = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  const q = of(2, 6, 4, 5)
  const attend = (options: object) => () =>
    scaledDotProductAttention(q, of(2, 2, 7, 5), of(2, 2, 7, 5), options as AttentionOptions)
  assertShapeError(attend({ mask: of(4, 4) }), 'a mask float32 [4, 4]; takes one that broadcasts to [2, 6, 4, 7]')
  assertShapeError(attend({ mask: of(1, 2, 6, 4, 7) }), 'takes one that broadcasts')
  assertShapeError(attend({ dropout: 1.5 }), 'p = 1.5')
  assertShapeError(() => scaledDotProductAttention(q, of(2, 4, 7, 5), of(2, 4, 7, 5)), 'Hkv divides H')
})

test('shapes that do not fit', () => {
  const of = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  const q = of(2, 3, 4, 5)
  assertShapeError(() => scaledDotProductAttention(q, of(2, 3, 7, 5), of(2, 3, 6, 5)), 'scaledDotProductAttention: got')
  assertShapeError(() => scaledDotProductAttention(q, of(2, 3, 7, 4), of(2, 3, 7, 4)), '[B, Hkv, Tk, Dh]')
  assertShapeError(() => scaledDotProductAttention(of(3, 4, 5), of(3, 4, 5), of(3, 4, 5)), '[3, 4, 5]')
  assertShapeError(() => packedAttention(of(2, 4, 30), 4), '3 * 4 * Dh')
  assertShapeError(() => packedAttention(of(2, 4, 30), 0), 'packedAttention: got float32 [2, 4, 30]')
  assertShapeError(() => packedAttention(tensor(new Int32Array(30), { shape: [1, 1, 30] }), 2), 'int32')
})

test('ends', () => device.destroy())
run()
