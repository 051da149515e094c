import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { add, exp, mul } from '../../engine/ops/elementwise.ts'
import { broadcastTo, permute, reshape, sumTo, transpose } from '../../engine/ops/shape.ts'
import { type SliceRange, slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { testRandom } from '../harness/kernel.ts'
import { broadcasted, type NdArray, ndarray, permuted, reshaped, sliced, summedTo, zip } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('shape ops')

/** A view op on a tensor and on the reference, with its text for messages. */
interface Step {
  text: string
  onTensor(t: Tensor): Tensor
  onArray(a: NdArray): NdArray
}

/** An array whose elements are 0, 1, 2, …, which shows where a view puts each element. */
function labels(shape: Shape): NdArray {
  return ndarray(
    Array.from({ length: sizeOf(shape) }, (_, i) => i),
    shape,
  )
}

async function checkStep(shape: Shape, { text, onTensor, onArray }: Step): Promise<void> {
  const values = normals(sizeOf(shape), 1)
  const output = onArray(ndarray(values, shape))
  const cotangent = normals(output.data.length, 2)
  const gradient = new Float64Array(values.length)
  for (const [i, label] of onArray(labels(shape)).data.entries()) gradient[label]! += cotangent[i]!
  for (const make of [leaf, stridedLeaf]) {
    const expected = { shape: output.shape, output: output.data, cotangent, gradients: [gradient] }
    await checkOp(text, onTensor, [make(values, shape)], expected)
  }
}

function reshapeStep(shape: Shape, asked: Shape = shape): Step {
  return { text: `reshape [${asked}]`, onTensor: (t) => reshape(t, asked), onArray: (a) => reshaped(a, shape) }
}

function permuteStep(order: number[], asked: number[] = order): Step {
  return { text: `permute [${asked}]`, onTensor: (t) => permute(t, asked), onArray: (a) => permuted(a, order) }
}

function transposeStep(rank: number, a: number, b: number): Step {
  const order = Array.from({ length: rank }, (_, d) => (d === a ? b : d === b ? a : d))
  return { text: `transpose ${a} ${b}`, onTensor: (t) => transpose(t, a, b - rank), onArray: (array) => permuted(array, order) }
}

function sliceStep(box: [number, number][], asked: SliceRange[] = box): Step {
  return { text: `slice ${JSON.stringify(asked)}`, onTensor: (t) => slice(t, asked), onArray: (a) => sliced(a, box) }
}

function broadcastStep(shape: Shape): Step {
  return { text: `broadcastTo [${shape}]`, onTensor: (t) => broadcastTo(t, shape), onArray: (a) => broadcasted(a, shape) }
}

const STEPS: [Shape, Step][] = [
  [[], reshapeStep([1, 1])],
  [[1], reshapeStep([])],
  [[12], reshapeStep([3, 4])],
  [[2, 3, 4], reshapeStep([24], [-1])],
  [[2, 3, 4], reshapeStep([6, 4], [-1, 4])],
  [[2, 3, 4], reshapeStep([2, 1, 12], [2, 1, -1])],
  [[6, 31], reshapeStep([2, 3, 31, 1])],
  [[], permuteStep([])],
  [[2, 3, 4], permuteStep([2, 0, 1])],
  [[2, 3, 4], permuteStep([0, 2, 1], [0, -1, -2])],
  [[33, 65], transposeStep(2, 0, 1)],
  [[2, 3, 4, 5], transposeStep(4, 1, 3)],
  [[7], sliceStep([[3, 4]])],
  [
    [9, 5],
    sliceStep(
      [
        [2, 9],
        [0, 5],
      ],
      [[2]],
    ),
  ],
  [
    [9, 5],
    sliceStep(
      [
        [0, 9],
        [1, 4],
      ],
      [[], [1, -1]],
    ),
  ],
  [
    [9, 5],
    sliceStep(
      [
        [6, 8],
        [0, 2],
      ],
      [
        [-3, -1],
        [undefined, 2],
      ],
    ),
  ],
  [
    [9, 5],
    sliceStep(
      [
        [4, 9],
        [0, 5],
      ],
      [
        [4, 100],
        [-100, 5],
      ],
    ),
  ],
  [
    [4, 65, 36],
    sliceStep([
      [0, 4],
      [0, 1],
      [0, 36],
    ]),
  ],
  [
    [4, 65, 37],
    sliceStep([
      [1, 2],
      [64, 65],
      [3, 37],
    ]),
  ],
  [
    [2, 3, 4, 5],
    sliceStep([
      [0, 1],
      [1, 3],
      [1, 3],
      [0, 4],
    ]),
  ],
  [[], broadcastStep([3, 5])],
  [[1, 36], broadcastStep([7, 36])],
  [[5, 1], broadcastStep([2, 5, 3])],
  [[3, 1, 1, 4], broadcastStep([3, 7, 1, 4])],
]
for (const [shape, step] of STEPS) test(`${step.text} of [${shape}]`, () => checkStep(shape, step))

// Chains

/** A random view op that fits a shape. */
function randomStep(shape: Shape, random: () => number): Step {
  const pick = (n: number) => Math.floor(random() * n)
  const rank = shape.length
  const kind = ['reshape', 'permute', 'slice', 'transpose', 'broadcastTo'][pick(5)]
  if (kind === 'permute' || (kind === 'transpose' && rank < 2)) {
    const order = shape.map((_, d) => d)
    for (let i = rank - 1; i > 0; i--) {
      const j = pick(i + 1)
      const swapped = order[i]!
      order[i] = order[j]!
      order[j] = swapped
    }
    return permuteStep(order)
  }
  if (kind === 'transpose') return transposeStep(rank, pick(rank), pick(rank))
  if (kind === 'slice') {
    return sliceStep(
      shape.map((size) => {
        const start = random() < 0.5 ? 0 : pick(size)
        return [start, random() < 0.5 ? size : start + 1 + pick(size - start)]
      }),
    )
  }
  if (kind === 'broadcastTo' && sizeOf(shape) < 500 && rank < 5) {
    return broadcastStep([...(random() < 0.3 ? [2] : []), ...shape.map((size) => (size === 1 ? 1 + pick(3) : size))])
  }
  // The new shape splits the size into random factors.
  const into: number[] = []
  for (let rest = sizeOf(shape); rest > 1; ) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((n) => n > 1 && rest % n === 0)
    const size = divisors[pick(divisors.length)]!
    into.push(size)
    rest /= size
    if (random() < 0.2) into.push(1)
  }
  return reshapeStep(into)
}

const STARTS: Shape[] = [[4, 6, 8], [3, 5, 7], [2, 2, 3, 2, 2], [60], [8, 36], [1, 12, 1, 10]]

/** A random shape, and a chain of up to six random steps from it. */
function randomChain(seed: number): { shape: Shape; chain: Step } {
  const random = testRandom(seed)
  const shape = STARTS[Math.floor(random() * STARTS.length)]!
  const steps: Step[] = []
  let at = labels(shape)
  for (let left = 2 + Math.floor(random() * 5); left > 0; left--) {
    const step = randomStep(at.shape, random)
    at = step.onArray(at)
    steps.push(step)
  }
  const chain = {
    text: `[${shape}] ${steps.map((step) => step.text).join(', ')}`,
    onTensor: (t: Tensor) => steps.reduce((now, step) => step.onTensor(now), t),
    onArray: (a: NdArray) => steps.reduce((now, step) => step.onArray(now), a),
  }
  return { shape, chain }
}

for (let seed = 1; seed <= 120; seed++) {
  const { shape, chain } = randomChain(seed)
  test(`chain ${seed}: ${chain.text}`, () => checkStep(shape, chain))
}

for (let seed = 201; seed <= 260; seed++) {
  const { shape, chain } = randomChain(seed)
  test(`into operands, chain ${seed}: ${chain.text}`, async () => {
    const values = normals(sizeOf(shape), seed)
    const view = chain.onArray(ndarray(values, shape))
    // The view is combined with a tensor that is broadcast along every other dim, as either operand, and with its own transpose.
    const otherShape = view.shape.map((size, d) => (d % 2 === 0 ? size : 1))
    const other = ndarray(normals(sizeOf(otherShape), seed + 1), otherShape)
    const output = zip(view, other, (a, b) => a * b + b)
    const cotangent = ndarray(normals(output.data.length, seed + 2), output.shape)
    const gradient = new Float64Array(values.length)
    const onView = zip(cotangent, other, (g, b) => g * b).data
    for (const [i, label] of chain.onArray(labels(shape)).data.entries()) gradient[label]! += onView[i]!
    const onOther = summedTo(
      zip(cotangent, view, (g, a) => g * (a + 1)),
      otherShape,
    ).data
    await checkOp(
      chain.text,
      (t, u) => add(u, mul(chain.onTensor(t), u)),
      [leaf(values, shape), leaf(other.data, otherShape)],
      {
        shape: output.shape,
        output: output.data,
        cotangent: cotangent.data,
        gradients: [gradient, onOther],
      },
    )
  })
}

test('chains of int32', async () => {
  for (let seed = 301; seed <= 320; seed++) {
    const { shape, chain } = randomChain(seed)
    const t = chain.onTensor(tensor(Int32Array.from(labels(shape).data), { shape }))
    const expected = chain.onArray(labels(shape))
    assertClose(await t.data(), expected.data, 0, chain.text)
    assertClose(
      await add(t, 1).data(),
      expected.data.map((value) => value + 1),
      0,
      `${chain.text}, add 1`,
    )
  }
})

test('a view shares memory, a gradient reaches the leaf through several', async () => {
  const x = leaf([1, 2, 3, 4, 5, 6], [2, 3])
  const turned = transpose(x, 0, 1)
  if (turned.storage !== x.storage || reshape(x, [3, 2]).storage !== x.storage) throw new Error('a view was copied')
  if (reshape(turned, [6]).storage === x.storage) throw new Error('no view can have these strides')
  backward(add(mul(turned, 2), exp(mul(turned, 0))), tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] }))
  assertClose(await x.grad!.data(), [2, 6, 10, 4, 8, 12], 1e-6, 'gradient')
})

test('sumTo', async () => {
  const a = ndarray(normals(120, 1), [2, 3, 4, 5])
  const t = tensor(Float32Array.from(a.data), { shape: a.shape })
  for (const shape of [[2, 3, 4, 5], [4, 5], [1, 5], [2, 1, 4, 1], [], [1, 1, 1, 1], [3, 1, 1]]) {
    assertClose(await sumTo(t, shape).data(), summedTo(a, shape).data, 1e-6, `to [${shape}]`)
    const turned = permute(tensor(Float32Array.from(permuted(a, [3, 2, 1, 0]).data), { shape: [5, 4, 3, 2] }), [3, 2, 1, 0])
    assertClose(await sumTo(turned, shape).data(), summedTo(a, shape).data, 1e-6, `strided to [${shape}]`)
  }
})

test('refusals name the op', () => {
  const t = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] })
  assertShapeError(() => reshape(t, [4]), 'reshape: [2, 3]')
  assertShapeError(() => reshape(t, [-1, -1]), 'reshape: [2, 3]')
  assertShapeError(() => reshape(t, [4, -1]), 'reshape: [2, 3]')
  assertShapeError(() => reshape(t, [0, 6]), 'reshape: [2, 3]')
  assertShapeError(() => permute(t, [0]), 'permute: got [0]')
  assertShapeError(() => permute(t, [0, 0]), 'permute: got [0, 0]')
  assertShapeError(() => permute(t, [0, 2]), 'permute: dim 2')
  assertShapeError(() => transpose(t, 0, 2), 'transpose: dim 2')
  assertShapeError(() => transpose(t, -3, 0), 'transpose: dim -3')
  assertShapeError(() => slice(t, [[1, 1]]), 'slice: [1, 1]')
  assertShapeError(() => slice(t, [[2]]), 'slice: [2, 2]')
  assertShapeError(() => slice(t, [[0.5]]), 'slice: [0.5, 2]')
  assertShapeError(() => slice(t, [[], [], []]), 'slice: got 3 ranges')
  assertShapeError(() => broadcastTo(t, [3]), 'broadcastTo')
  assertShapeError(() => broadcastTo(t, [2, 1]), 'broadcastTo: [2, 3]')
  assertShapeError(() => broadcastTo(t, [4, 3]), 'broadcastTo')
})
test('ends', () => device.destroy())
run()
