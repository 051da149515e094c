import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { type CrossEntropyOptions, crossEntropies, crossEntropy } from '../../engine/ops/crossEntropy.ts'
import { mean, sum } from '../../engine/ops/reduce.ts'
import { broadcastTo, reshape } from '../../engine/ops/shape.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { NAN_BITS } from '../../kernels/crossEntropy/index.ts'
import { crossEntropyBackwardReference, crossEntropyReference } from '../../kernels/crossEntropy/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('crossEntropy op')

type Reduction = 'mean' | 'none'

function labelsFor(rows: number, classes: number): Int32Array {
  const random = testRandom(5)
  return Int32Array.from({ length: rows }, () => Math.floor(random() * classes))
}

/** The expected output and gradient in float64. */
function expected(x: Float32Array, shape: Shape, labels: Int32Array, reduction: Reduction): ExpectedOp {
  const classes = shape.at(-1)!
  const rows = labels.length
  const mean = reduction === 'mean'
  const problem = { rows, classes, nan: NAN_BITS, labelRows: rows } as const
  const cotangent = normals(mean ? 1 : rows, 6)
  const logits = Float64Array.from(x)
  const { losses, statistics } = crossEntropyReference(problem, {
    logits,
    labels: Float64Array.from(labels),
    losses: new Float64Array(rows),
    statistics: new Float64Array(2 * rows),
  })
  const { dlogits } = crossEntropyBackwardReference(
    { ...problem, gradientRows: mean ? rows : 1, scale: mean ? 1 / rows : 1 },
    {
      logits,
      labels: Float64Array.from(labels),
      statistics: statistics!,
      gradient: Float64Array.from(cotangent),
      dlogits: new Float64Array(x.length),
    },
  )
  const output = mean ? [losses!.reduce((sum, loss) => sum + loss, 0) / rows] : losses!
  return { shape: mean ? [] : shape.slice(0, -1), output, cotangent, gradients: [dlogits, undefined] }
}

const SHAPES: readonly Shape[] = [
  [10],
  ...[1, 7, 31, 33, 129, 257, 1025].map((classes) => [3, classes]),
  ...[1, 7, 31, 33, 129, 257, 1025].map((rows) => [rows, 10]),
  [3, 5, 12],
  [2, 3, 4, 7],
]

for (const reduction of ['mean', 'none'] as const) {
  const apply = (logits: Tensor, labels: Tensor) => crossEntropy(logits, labels, { reduction })
  for (const shape of SHAPES) {
    test(`${reduction} of [${shape}]`, async () => {
      const x = normals(sizeOf(shape), 1).map((value) => 2 * value)
      const labels = labelsFor(sizeOf(shape.slice(0, -1)), shape.at(-1)!)
      const inputs = [leaf(x, shape), tensor(labels, { shape: shape.slice(0, -1) })]
      await checkOp(`${reduction}`, apply, inputs, expected(x, shape, labels, reduction))
    })
  }
  test(`${reduction} of a strided view`, async () => {
    const shape = [4, 9, 8]
    const x = normals(sizeOf(shape), 3)
    const labels = labelsFor(36, 8)
    await checkOp(
      `${reduction}`,
      apply,
      [stridedLeaf(x, shape), tensor(labels, { shape: [4, 9] })],
      expected(x, shape, labels, reduction),
    )
  })
}

for (const ignoreIndex of [undefined, 3]) {
  test(`labels that repeat${ignoreIndex === undefined ? '' : ', some ignored'}, and gradients of rows alike, are not copied`, async () => {
    const [m, B, classes] = [3, 7, 5]
    const x = normals(m * B * classes, 8)
    const every = labelsFor(B, classes)
    const run = async (labels: Tensor) => {
      const logits = leaf(x, [m, B, classes])
      const options = { reduction: 'none' as const, ...(ignoreIndex !== undefined && { ignoreIndex }) }
      const losses = crossEntropy(logits, labels, options)
      backward(mean(losses, 1), tensor(normals(m, 9)))
      const average = crossEntropy(logits.detach(), labels, { ...options, reduction: 'mean' })
      return [...(await losses.data()), ...(await logits.grad!.data()), await average.item()]
    }
    const expected = await run(tensor(Int32Array.from([...every, ...every, ...every]), { shape: [m, B] }))
    const repeated = await run(broadcastTo(reshape(tensor(every), [1, B]), [m, B]))
    if (`${repeated}` !== `${expected}`) throw new Error(`${repeated} instead of ${expected}`)
  })
}

for (const options of [{}, { reduction: 'sum' }, { labelSmoothing: 0.2 }] as CrossEntropyOptions[]) {
  test(`the gradient at a cotangent of 1, which needs no dispatch of its own, ${JSON.stringify(options)}`, async () => {
    const [rows, classes] = [33, 12]
    const [x, labels] = [normals(rows * classes, 8), tensor(labelsFor(rows, classes))]
    const gradientOf = async (apply: (logits: Tensor) => void) => {
      const logits = leaf(x, [rows, classes])
      apply(logits)
      return logits.grad!.data()
    }
    const expected = await gradientOf((logits) => {
      const losses = crossEntropy(logits, labels, { ...options, reduction: 'none' })
      backward(losses, tensor(new Float32Array(rows).fill(options.reduction === 'sum' ? 1 : 1 / rows)))
    })
    for (const cotangent of [undefined, tensor([1], { shape: [] })]) {
      const found = await gradientOf((logits) => backward(crossEntropy(logits, labels, options), cotangent))
      assertClose(found, expected, 1e-6, `with ${cotangent ? 'a given' : 'no'} cotangent`)
    }
    // The gradient of the first total is no part of that of the second.
    const two = await gradientOf((logits) => {
      for (let i = 0; i < 2; i++) backward(crossEntropy(logits, labels, options))
    })
    assertClose(
      two,
      Array.from(expected, (value) => 2 * value),
      1e-6,
      'twice',
    )
  })
}

test('logits that lie behind others in their memory', async () => {
  const x = normals(3 * 8 * 16, 8)
  const labels = labelsFor(8, 16)
  const all = leaf(x, [3, 8, 16])
  const part = slice(all, [[1, 2]])
  backward(crossEntropy(reshape(part, [8, 16]), tensor(labels)))
  const alone = leaf(x.subarray(128, 256), [8, 16])
  backward(crossEntropy(alone, tensor(labels)))
  const found = await all.grad!.data()
  const expected = [...new Float32Array(128), ...(await alone.grad!.data()), ...new Float32Array(128)]
  if (`${[...found]}` !== `${expected}`) throw new Error(`${found} instead of ${expected}`)
})

for (const [m, rows, classes] of [
  [1, 1, 2],
  [3, 7, 5],
  [4, 33, 8],
] as const) {
  test(`the mean of each of ${m} sets of ${rows} rows, ${classes} classes`, async () => {
    const x = normals(m * rows * classes, 8)
    const labels = labelsFor(rows, classes)
    const weights = normals(m, 9)
    const sets = Array.from({ length: m }, (_, k) => x.subarray(k * rows * classes, (k + 1) * rows * classes))
    const each = sets.map((set) => expected(set, [rows, classes], labels, 'mean'))
    const seed = normals(1, 6)[0]!
    for (const cotangent of [undefined, weights]) {
      const logits = leaf(x, [m, rows, classes])
      const losses = crossEntropies(logits, tensor(labels))
      if (cotangent) backward(losses, tensor(cotangent))
      else backward(sum(losses))
      assertClose(
        await losses.data(),
        each.flatMap(({ output }) => Array.from(output)),
        1e-6,
        'losses',
      )
      // The gradients of `expected` are those at its own cotangent.
      const gradients = each.flatMap(({ gradients: [dlogits] }, k) =>
        Array.from(dlogits!, (value) => (value / seed) * (cotangent?.[k] ?? 1)),
      )
      assertClose(await logits.grad!.data(), gradients, 1e-5, 'gradients')
    }
  })
}

for (const kase of ['mean', 'large']) {
  test(`crossEntropy.${kase} as PyTorch`, async () => {
    const stored = (key: string) => golden.get(`crossEntropy.${kase}.${key}`)!
    const input = stored('input')
    const inputs = [leaf(input.data, input.shape), tensor(Int32Array.from(stored('target').data))]
    await checkOp(`crossEntropy.${kase}`, (logits, labels) => crossEntropy(logits, labels), inputs, {
      shape: [],
      output: stored('output').data,
      cotangent: [1],
      gradients: [stored('grad.input').data, undefined],
    })
  })
}

for (const classes of [5, 8]) {
  test(`labels outside ${classes} classes give NaN in their row alone`, async () => {
    const x = normals(4 * classes, 7)
    const good = Int32Array.of(1, 0, 0, classes - 1)
    const { output, gradients } = expected(x, [4, classes], good, 'none')
    const cotangent = normals(4, 6)
    for (const bad of [-1, classes, -2147483648, 2147483647]) {
      const logits = leaf(x, [4, classes])
      const losses = crossEntropy(logits, tensor(Int32Array.of(1, bad, 0, classes - 1)), { reduction: 'none' })
      backward(losses, tensor(cotangent))
      const found = await losses.data()
      const gradient = await logits.grad!.data()
      const bads = [found[1]!, ...gradient.subarray(classes, 2 * classes)]
      if (!bads.every(Number.isNaN)) throw new Error(`label ${bad} gave ${bads}`)
      const without = (all: ArrayLike<number>, each: number) => Array.from(all).filter((_, i) => Math.floor(i / each) !== 1)
      assertClose(without(found, 1), without(output, 1), 1e-5, `losses beside label ${bad}`)
      assertClose(without(gradient, classes), without(gradients[0]!, classes), 1e-4, `gradients beside label ${bad}`)
      const mean = await crossEntropy(logits, tensor(Int32Array.of(1, bad, 0, 0))).item()
      if (!Number.isNaN(mean)) throw new Error(`the mean is ${mean}`)
    }
  })
}

test('refuses what it cannot take', () => {
  const logits = tensor(new Float32Array(6), { shape: [2, 3] })
  assertShapeError(() => crossEntropy(logits, tensor([1, 2])), 'got float32 [2, 3] and float32 [2]')
  assertShapeError(() => crossEntropy(logits, tensor(Int32Array.of(1, 2, 0))), 'int32 [3]')
  assertShapeError(() => crossEntropy(tensor(1), tensor(Int32Array.of(1))), 'float32 []')
  assertShapeError(() => crossEntropy(tensor(Int32Array.of(1, 2)), tensor(Int32Array.of(1))), 'int32 [2]')
  const product = { reduction: 'product' as 'mean' }
  assertShapeError(() => crossEntropies(logits, tensor(Int32Array.of(1, 2))), 'takes logits float32 [m, ..., C]')
  assertShapeError(() => crossEntropy(logits, tensor(Int32Array.of(1, 2)), product), 'reduction "product"')
})
test('ends', () => device.destroy())
run()
