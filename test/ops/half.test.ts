import { backward } from '../../engine/autograd/backward.ts'
import { cast } from '../../engine/autograd/cast.ts'
import { capture } from '../../engine/capture.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import '../../engine/methods.ts'
import type { Dtype } from '../../engine/layout/dtype.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { gelu } from '../../engine/ops/activation.ts'
import { packedAttention, scaledDotProductAttention } from '../../engine/ops/attention.ts'
import { batchNorm } from '../../engine/ops/batchNorm.ts'
import { concat, stack } from '../../engine/ops/concat.ts'
import { conv2d } from '../../engine/ops/conv2d.ts'
import { arange, full, ones, rand, zeros } from '../../engine/ops/create.ts'
import { crossEntropy } from '../../engine/ops/crossEntropy.ts'
import { cumsum } from '../../engine/ops/cumsum.ts'
import { dropout } from '../../engine/ops/dropout.ts'
import { einsum } from '../../engine/ops/einsum.ts'
import { add, div, exp, log, mul, neg, relu, sigmoid, sqrt, sub, tanh } from '../../engine/ops/elementwise.ts'
import { embedding } from '../../engine/ops/embedding.ts'
import { argmax, max } from '../../engine/ops/extremum.ts'
import { firstTokenAttention } from '../../engine/ops/firstTokenAttention.ts'
import { flip } from '../../engine/ops/flip.ts'
import { logsumexp, norm } from '../../engine/ops/foldOps.ts'
import { gather } from '../../engine/ops/gather.ts'
import { groupNorm } from '../../engine/ops/groupNorm.ts'
import { layerNorm } from '../../engine/ops/layerNorm.ts'
import { linear } from '../../engine/ops/linear.ts'
import { mseLoss } from '../../engine/ops/losses.ts'
import { maskedFill } from '../../engine/ops/maskedFill.ts'
import { matmul } from '../../engine/ops/matmul.ts'
import { mlp } from '../../engine/ops/mlp.ts'
import { avgPool2d, maxPool2d } from '../../engine/ops/pool2d.ts'
import { pow } from '../../engine/ops/pow.ts'
import { bernoulli, multinomial } from '../../engine/ops/random.ts'
import { mean, sum } from '../../engine/ops/reduce.ts'
import { rmsNorm } from '../../engine/ops/rmsNorm.ts'
import { roll } from '../../engine/ops/roll.ts'
import { cumprod } from '../../engine/ops/scan.ts'
import { scatter } from '../../engine/ops/scatter.ts'
import { scatterAdd } from '../../engine/ops/scatterAdd.ts'
import { broadcastTo, permute, reshape, transpose } from '../../engine/ops/shape.ts'
import { slice } from '../../engine/ops/slice.ts'
import { softmax } from '../../engine/ops/softmax.ts'
import { argsort, sort, topk } from '../../engine/ops/sort.ts'
import { tile } from '../../engine/ops/tile.ts'
import { triu } from '../../engine/ops/triangle.ts'
import { std, variance } from '../../engine/ops/variance.ts'
import { where } from '../../engine/ops/where.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { type Tensor, view } from '../../engine/tensor/tensor.ts'
import { fromHalves, toHalves } from '../../kernels/half.ts'
import { assertShapeError, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('float16 ops')

/** The values as text that tells -0 from 0 and shows NaN. */
const shown = async (t: Tensor) => Array.from(await t.data(), (value) => (Object.is(value, -0) ? '-0' : String(value))).join()

async function expect(what: string, t: Tensor, dtype: Dtype, values: readonly number[] | Float32Array): Promise<void> {
  const want = Array.from(values, (value) => (Object.is(value, -0) ? '-0' : String(value))).join()
  if (t.dtype !== dtype || (await shown(t)) !== want) throw new Error(`${what}: ${t.dtype} ${await shown(t)}, expected ${want}`)
}

/** Normally distributed numbers that float16 holds exactly. */
const halves = (size: number, seed: number) => fromHalves(toHalves(normals(size, seed)))

/** An op and the shapes of its inputs. The inputs listed in `away` are from 0.5 to 2, away from 0. */
interface Case {
  op: (...inputs: Tensor[]) => Tensor
  shapes: Shape[]
  away?: number[]
  /** Largest errors of the output and of the gradients; default 1e-3 and 2e-3. */
  tolerance?: [number, number]
}

const CASES: Record<string, Case> = {
  add: { op: add, shapes: [[7, 33], [33]] },
  'sub, strided': { op: (a, b) => sub(transpose(a, 0, 1), b), shapes: [[33, 7], [33]] },
  mul: {
    op: mul,
    shapes: [
      [7, 36],
      [7, 1],
    ],
  },
  div: { op: div, shapes: [[7, 36], [36]], away: [1] },
  'add a number': { op: (x) => add(x, 0.25), shapes: [[257]] },
  'mul by a number': { op: (x) => mul(x, -1.5), shapes: [[257]] },
  'a number divided': { op: (x) => div(3, x), shapes: [[257]], away: [0] },
  'a number minus': { op: (x) => sub(1, x), shapes: [[31]] },
  neg: { op: neg, shapes: [[31]] },
  exp: { op: exp, shapes: [[129]] },
  log: { op: log, shapes: [[129]], away: [0] },
  sqrt: { op: sqrt, shapes: [[129]], away: [0] },
  tanh: { op: tanh, shapes: [[129]] },
  relu: { op: relu, shapes: [[129]] },
  gelu: { op: (x) => gelu(x), shapes: [[1025]] },
  sigmoid: { op: sigmoid, shapes: [[129]] },
  pow: { op: pow, shapes: [[7, 9], [9]], away: [0, 1] },
  where: { op: (a, b) => where(a, a, b), shapes: [[7, 9], [9]] },
  square: { op: (x) => x.square(), shapes: [[129]] },
  sin: { op: (x) => x.sin(), shapes: [[129]] },
  erf: { op: (x) => x.erf(), shapes: [[129]] },
  silu: { op: (x) => x.silu(), shapes: [[129]] },
  leakyRelu: { op: (x) => x.leakyRelu(0.25), shapes: [[129]] },
  clamp: { op: (x) => x.clamp(-0.5, 1), shapes: [[129]] },
  maximum: { op: (a, b) => a.maximum(b), shapes: [[7, 9], [9]] },
  remainder: { op: (a, b) => a.remainder(b), shapes: [[7, 9], [9]], away: [1] },
  'maximum with a number': { op: (x) => x.maximum(0.25), shapes: [[129]] },
  sum: { op: (x) => sum(x), shapes: [[31, 33]], tolerance: [1e-3, 1e-6] },
  'sum over 0': { op: (x) => sum(x, 0), shapes: [[700, 20]] },
  'sum over two dims': { op: (x) => sum(x, [0, 2]), shapes: [[5, 33, 7]] },
  'mean over -1': { op: (x) => mean(x, -1), shapes: [[9, 129]] },
  reshape: { op: (x) => reshape(x, [6, -1]), shapes: [[3, 14]] },
  permute: { op: (x) => permute(x, [2, 0, 1]), shapes: [[3, 5, 7]] },
  broadcastTo: { op: (x) => broadcastTo(x, [5, 3, 4]), shapes: [[3, 1]] },
  slice: {
    op: (x) =>
      slice(x, [
        [1, 3],
        [2, -1],
      ]),
    shapes: [[5, 9]],
  },
  'slice with a step': {
    op: (x) =>
      slice(x, [
        [1, 5, 2],
        [-1, 0, -3],
      ]),
    shapes: [[5, 9]],
  },
  flip: { op: (x) => flip(x, 1), shapes: [[3, 7]] },
  roll: { op: (x) => roll(x, 2, 1), shapes: [[3, 7]] },
  tile: { op: (x) => tile(x, [2, 3]), shapes: [[3, 5]] },
  gather: { op: (x) => gather(x, 1, argsort(x, 0)), shapes: [[5, 7]] },
  scatterAdd: {
    op: (x, y) => scatterAdd(x, 0, argsort(y, 0), y),
    shapes: [
      [7, 3],
      [5, 3],
    ],
  },
  scatter: {
    op: (x, y) => scatter(x, 0, argsort(y, 0), y),
    shapes: [
      [7, 3],
      [5, 3],
    ],
  },
  maskedFill: { op: (x) => maskedFill(x, argsort(x, 0), 0.5), shapes: [[5, 3]] },
  triu: { op: (x) => triu(x), shapes: [[5, 7]] },
  sort: { op: (x) => sort(x, 1)[0], shapes: [[3, 33]] },
  topk: { op: (x) => topk(x, 3)[0], shapes: [[3, 33]] },
  norm: { op: (x) => norm(x, 1), shapes: [[3, 33]] },
  variance: { op: (x) => variance(x, 0), shapes: [[33, 3]] },
  std: { op: (x) => std(x), shapes: [[5, 7]] },
  logsumexp: { op: (x) => logsumexp(x, [0, 2]), shapes: [[3, 5, 7]] },
  cumprod: { op: (x) => cumprod(x, 1), shapes: [[3, 4]], away: [0] },
  einsum: {
    op: (x, y) => einsum('bij,bkj->bik', x, y),
    shapes: [
      [2, 3, 5],
      [2, 4, 5],
    ],
  },
  concat: {
    op: (...parts) => concat(parts, 1),
    shapes: [
      [3, 5],
      [3, 1],
      [3, 2],
    ],
  },
  stack: {
    op: (...parts) => stack(parts, 0),
    shapes: [
      [3, 5],
      [3, 5],
    ],
  },
  'used twice': { op: (x) => add(mul(x, x), add(x, x)), shapes: [[33]], tolerance: [2e-3, 3e-3] },
  matmul: {
    op: matmul,
    shapes: [
      [31, 47],
      [47, 19],
    ],
  },
  'matmul of batches': {
    op: matmul,
    shapes: [
      [2, 3, 9, 16],
      [3, 16, 5],
    ],
  },
  'matmul of views': {
    op: (a, b) => matmul(transpose(a, 0, 1), slice(b, [[], [3, 14]])),
    shapes: [
      [16, 9],
      [16, 17],
    ],
  },
  'matmul with a vector': { op: matmul, shapes: [[31, 47], [47]] },
  'matmul of a long k': {
    op: matmul,
    shapes: [
      [3, 2100],
      [2100, 5],
    ],
  },
  linear: { op: (x, w, b) => linear(x, w, b), shapes: [[3, 5, 32], [48, 32], [48]] },
  conv2d: { op: (x, w, b) => conv2d(x, w, b, { padding: 1, stride: 2 }), shapes: [[2, 4, 7, 6], [5, 4, 3, 3], [5]] },
  maxPool2d: { op: (x) => maxPool2d(x, 3, { padding: 1 }), shapes: [[2, 3, 7, 8]] },
  avgPool2d: { op: (x) => avgPool2d(x, 3, { padding: 1 }), shapes: [[2, 3, 7, 8]] },
  'linear of one token': { op: (x, w, b) => linear(slice(x, [[], [0, 1]]), w, b), shapes: [[3, 5, 32], [48, 32], [48]] },
  'linear, gelu and residual': {
    op: (x, w, b, r) => linear(x, w, b, { gelu: true, residual: r }),
    shapes: [[3, 5, 32], [48, 32], [48], [5, 48]],
  },
  'linear, dropout': {
    op: (x, w, b, r) => {
      device.random.seed = 3
      return linear(x, w, b, { dropout: 0.4, residual: r })
    },
    shapes: [[3, 5, 32], [48, 32], [48], [5, 48]],
  },
  mlp: { op: mlp as Case['op'], shapes: [[3, 5, 32], [48, 32], [48], [20, 48], [20]], tolerance: [2e-3, 5e-3] },
  'mlp and residual': {
    op: mlp as Case['op'],
    shapes: [[3, 1, 32], [48, 32], [48], [20, 48], [20], [1, 20]],
    tolerance: [2e-3, 5e-3],
  },
  scaledDotProductAttention: {
    op: (q, k, v) => scaledDotProductAttention(q!, k!, v!),
    shapes: [
      [2, 3, 7, 16],
      [2, 3, 11, 16],
      [2, 3, 11, 16],
    ],
  },
  'attention with options': {
    op: (q, k, v) => {
      device.random.seed = 3
      const mask = tensor(fromHalves(toHalves(halves(77, 5))), { shape: [7, 11], dtype: q!.dtype })
      return scaledDotProductAttention(q!, k!, v!, { causal: true, mask, dropout: 0.2 })
    },
    // At this width a software device takes the variants that compile fastest; the kernels' own cases have the others.
    shapes: [
      [2, 4, 7, 132],
      [2, 2, 11, 132],
      [2, 2, 11, 132],
    ],
  },
  packedAttention: { op: (x) => packedAttention(x, 3), shapes: [[2, 17, 3 * 3 * 16]] },
  firstTokenAttention: {
    op: (u, w) => firstTokenAttention(mul(u, 0.25), w, 2),
    shapes: [
      [2, 9, 24],
      [3 * 2 * 8, 24],
    ],
    tolerance: [2e-3, 5e-3],
  },
}

/** The output and the gradients of a case, with leaves of a dtype; both dtypes get the same values. */
async function results({ op, shapes, away = [] }: Case, dtype: Dtype): Promise<Float32Array[]> {
  const inputs = shapes.map((shape, i) => {
    const values = halves(sizeOf(shape), i + 1).map((value) => (away.includes(i) ? 0.5 + Math.abs(value % 1.5) : value))
    return tensor(fromHalves(toHalves(values)), { shape, dtype, requiresGrad: true })
  })
  const output = op(...inputs)
  if (output.dtype !== dtype) throw new Error(`gave ${output.dtype} for ${dtype}`)
  backward(output, tensor(halves(output.size, 9), { shape: output.shape, dtype }))
  for (const [i, { grad, dtype: own }] of inputs.entries())
    if (grad?.dtype !== own) throw new Error(`gradient ${i} is ${grad?.dtype}`)
  return (await Promise.all([output, ...inputs.map(({ grad }) => grad!)].map((t) => t.data()))) as Float32Array[]
}

if (device.capabilities.f16) {
  test('what is written is read back rounded, whatever the size; words that are shared keep their other half', async () => {
    for (const size of [1, 2, 3, 4, 7, 31, 129, 1025]) {
      const values = normals(size, size)
      const t = tensor(values, { dtype: 'float16' })
      await expect(`${size} values`, t, 'float16', fromHalves(toHalves(values)))
    }
    const t = tensor([1, 2, 3, 4, 5, 6, 7], { dtype: 'float16' })
    view(t, { shape: [3], offset: 1 }).write(Float32Array.of(-2, -3, -4))
    await expect('an odd view written', t, 'float16', [1, -2, -3, -4, 5, 6, 7])
    view(t, { shape: [1], offset: 6 }).write(Float32Array.of(70000))
    await expect('the last one written', t, 'float16', [1, -2, -3, -4, 5, 6, Number.POSITIVE_INFINITY])
    view(t, { shape: [2], offset: 4 }).write(Float32Array.of(8, 9))
    await expect('an aligned view written', t, 'float16', [1, -2, -3, -4, 8, 9, Number.POSITIVE_INFINITY])
    await expect('an odd view read', view(t, { shape: [3], strides: [2], offset: 1 }), 'float16', [-2, -4, 9])
    if ((await view(t, { shape: [], strides: [], offset: 3 }).item()) !== -4) throw new Error('item')
    assertShapeError(() => t.write(Int32Array.of(1)), 'write: Int32Array(1) into float16 [7]')
  })

  test('tensors of a value, of any size', async () => {
    for (const size of [1, 2, 5, 1025]) {
      await expect('zeros', zeros([size], { dtype: 'float16' }), 'float16', Array(size).fill(0))
      await expect('ones', ones([size], { dtype: 'float16' }), 'float16', Array(size).fill(1))
      await expect(
        'full',
        full([size], 1 / 3, { dtype: 'float16' }),
        'float16',
        Array(size).fill(fromHalves(toHalves([1 / 3]))[0]),
      )
    }
  })

  test('a cast rounds to the nearest half, keeps subnormals, and goes to infinity beyond the largest', async () => {
    const values = [65504, 65519, 65520, -1e9, 2 ** -24, 2 ** -25, 1.5 * 2 ** -24, 1e-5, 1 + 2 ** -11, 1 + 3 * 2 ** -11, -0]
    const edges = tensor([...values, Number.POSITIVE_INFINITY, Number.NaN])
    const want = [65504, 65504, Infinity, -Infinity, 2 ** -24, 0, 2 ** -23, 168 * 2 ** -24, 1, 1 + 2 ** -9, -0, Infinity, NaN]
    const half = cast(edges, 'float16')
    await expect('to float16', half, 'float16', want)
    await expect('and back', cast(half, 'float32'), 'float32', want)
    await expect(
      'a strided view',
      cast(transpose(tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] }), 0, 1), 'float16'),
      'float16',
      [1, 4, 2, 5, 3, 6],
    )
    await expect('to int32', cast(tensor([1.9, -7.5, 2048], { dtype: 'float16' }), 'int32'), 'int32', [1, -7, 2048])
    await expect('from int32', cast(tensor([3, -2049, 100000], { dtype: 'int32' }), 'float16'), 'float16', [3, -2048, Infinity])
    const same = cast(half, 'float16')
    if (same.storage !== half.storage) throw new Error('a cast to the same dtype copies')
  })

  test('a cast sends gradients back in the dtype of its input', async () => {
    const x = tensor([1, 2, 3], { requiresGrad: true })
    backward(cast(x, 'float16'), tensor([0.1, 2, 1e-9], { dtype: 'float16' }))
    await expect('to float16', x.grad!, 'float32', fromHalves(toHalves([0.1, 2, 1e-9])))
    const half = tensor([1, 2, 3], { dtype: 'float16', requiresGrad: true })
    backward(cast(half, 'float32'), tensor([0.1, 2, 70000]))
    await expect('from float16', half.grad!, 'float16', fromHalves(toHalves([0.1, 2, 70000])))
    assertShapeError(
      () => backward(cast(x, 'float16'), tensor([1, 1, 1])),
      'backward: got a cotangent of float32, takes float16',
    )
  })

  for (const [name, kase] of Object.entries(CASES)) {
    test(`${name}: as in float32, output and gradients`, async () => {
      const [got, want] = [await results(kase, 'float16'), await results(kase, 'float32')]
      const [forward, gradient] = kase.tolerance ?? [1e-3, 2e-3]
      if (got.length !== want.length || got.length === 0) throw new Error(`${got.length} results, expected ${want.length}`)
      got.forEach((values, i) => {
        assertClose(values, want[i]!, i === 0 ? forward : gradient, i === 0 ? 'output' : `gradient ${i - 1}`)
      })
    })
  }

  test('inputs of a capture, whatever their size and place', async () => {
    const doubled = capture((x: Tensor) => add(x, x))
    const all = tensor([1, 2, 3, 4, 5, 6, 7, 8], { dtype: 'float16' })
    const shape = [3]
    const views = [{ shape }, { shape, offset: 4 }, { shape, offset: 1 }, { shape, strides: [2], offset: 2 }].map((layout) =>
      view(all, layout),
    )
    const want = [
      [2, 4, 6],
      [10, 12, 14],
      [4, 6, 8],
      [6, 10, 14],
    ]
    for (const [i, x] of views.entries()) await expect(`view ${i}`, doubled(x), 'float16', want[i]!)
    doubled.dispose()
  })

  test('linear gives the dtype that it is told, and adds a residual of another one in float32', async () => {
    const [x, w] = [
      tensor([1, 2], { shape: [1, 2], dtype: 'float16' }),
      tensor([2048, 0.5], { shape: [1, 2], dtype: 'float16' }),
    ]
    await expect('float16', linear(x, w), 'float16', [2048])
    await expect('float32', linear(x, w, undefined, { dtype: 'float32' }), 'float32', [2049])
    const residual = tensor([2 ** -12])
    await expect('with a float32 residual', linear(x, w, undefined, { residual }), 'float32', [2049 + 2 ** -12])
    const bias = tensor([1], { dtype: 'float16' })
    await expect('with a float16 bias', linear(x, w, bias, { residual }), 'float32', [2050 + 2 ** -12])
  })

  test('ops that do not take float16 say so in one line', () => {
    const [x, matrix] = [ones([4], { dtype: 'float16' }), ones([2, 4], { dtype: 'float16' })]
    const [w, labels] = [ones([4]), zeros([2], { dtype: 'int32' })]
    const refused: [string, () => unknown][] = [
      ['softmax: got float16', () => softmax(x, 0)],
      ['layerNorm: got float16 [4]', () => layerNorm(x, w, w)],
      ['rmsNorm: got float16 [4]', () => rmsNorm(x, w)],
      ['crossEntropy: got float16 [2, 4]', () => crossEntropy(matrix, labels)],
      ['max: got float16', () => max(x)],
      ['argmax: got float16', () => argmax(x)],
      ['cumsum: got float16', () => cumsum(x, 0)],
      ['dropout: got float16', () => dropout(x, 0.5)],
      ['groupNorm: got float16 [2, 4]', () => groupNorm(matrix, 2, w, w)],
      ['batchNorm: got float16 [2, 4]', () => batchNorm(matrix, w, w)],
      ['mseLoss: got float16 [4]', () => mseLoss(x, x)],
      ['bernoulli: got float16 [4]', () => bernoulli(x)],
      ['multinomial: got float16 [4]', () => multinomial(x, 1)],
      ['embedding: got float16 [2, 4]', () => embedding(matrix, labels)],
      ['arange: got float16', () => arange(3, { dtype: 'float16' })],
      ['rand: got dtype float16', () => rand([3], { dtype: 'float16' })],
      ['matmul: got float16 [2, 4] and float32 [4]', () => matmul(matrix, w)],
      ['linear: got float16 [4] and float32 [1, 4]', () => linear(x, ones([1, 4]))],
    ]
    for (const [message, call] of refused) assertShapeError(call, message)
  })
} else {
  test('without shader-f16 float16 is refused in one line', () => {
    for (const make of [() => zeros([1], { dtype: 'float16' }), () => cast(ones([1]), 'float16')]) {
      try {
        make()
      } catch (error) {
        const { name, message } = error as Error
        if (name === 'UserError' && /^(zeros|cast) needs shader-f16, this device has none \(.*\)/.test(message)) continue
        throw error
      }
      throw new Error('did not throw')
    }
  })
}

test('ends', () => device.destroy())
run()
