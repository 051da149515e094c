import { autocast, type Conv2dOptions, capture, conv2d, grad, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { assertShapeError, leaf, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { checkGolden } from '../harness/networkGolden.ts'
import { checkSecondDerivatives, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('conv2d op')

/** The cases of test/golden/generate.py. */
const GOLDEN: Record<string, Conv2dOptions> = {
  plain: {},
  padded: { padding: 1 },
  strided: { padding: 1, stride: 2 },
  pointwise: {},
  pointwiseStrided: { stride: 2 },
  patches: { stride: 4 },
  uneven: { stride: [3, 2], padding: [1, 3], dilation: [2, 1] },
  dilated: { padding: 2, dilation: 3 },
  dilatedStrided: { padding: 3, dilation: 2, stride: 2 },
  grouped: { padding: 1, groups: 3 },
  depthwise: { padding: 1, groups: 5, stride: 2 },
  multiplied: { padding: 1, groups: 3 },
}

for (const [name, options] of Object.entries(GOLDEN)) {
  test(`PyTorch's values, ${name}`, () =>
    checkGolden(`conv2d.${name}`, (x, weight, bias) => conv2d(x, weight, bias, options), ['x', 'weight', 'bias']))
}

/** x, weight and bias. */
function operands(): [Tensor, Tensor, Tensor] {
  return [leaf(normals(2 * 4 * 25, 1), [2, 4, 5, 5]), leaf(normals(6 * 2 * 9, 2), [6, 2, 3, 3]), leaf(normals(6, 3), [6])]
}

test('only the gradients that are wanted, with and without bias', async () => {
  const apply = ([x, w, b]: readonly Tensor[]) => conv2d(x!, w!, b, { groups: 2, padding: 1 })
  const whole = operands()
  apply(whole).sum().backward()
  for (const wanted of [0, 1, 2]) {
    const inputs = operands()
    for (const [i, input] of inputs.entries()) input.requiresGrad = i === wanted
    apply(wanted < 2 ? inputs.slice(0, 2) : inputs)
      .sum()
      .backward()
    for (const [i, input] of inputs.entries()) {
      if (i !== wanted && input.grad) throw new Error(`input ${i} got a gradient`)
    }
    assertClose(await inputs[wanted]!.grad!.data(), await whole[wanted]!.grad!.data(), 1e-6, `gradient ${wanted}`)
  }
})

test('a depth and a batch that are cut into parts', async () => {
  const [x, w] = [leaf(normals(40 * 3 * 400, 1), [40, 3, 20, 20]), leaf(normals(5 * 27, 2), [5, 3, 3, 3])]
  const y = conv2d(x, w, undefined, { padding: 1 })
  y.backward(tensor(new Float32Array(y.size).fill(0.1), { shape: y.shape }))
  // The gradient of an element of the kernel is 0.1 times the sum of what it sees of x.
  const values = (await x.data()) as Float32Array
  const expected = new Float64Array(135)
  for (let i = 0; i < expected.length; i++) {
    const [c, ky, kx] = [Math.floor(i / 9) % 3, Math.floor(i / 3) % 3, i % 3]
    for (let b = 0; b < 40; b++) {
      for (let row = Math.max(0, ky - 1); row < Math.min(20, 19 + ky); row++) {
        for (let column = Math.max(0, kx - 1); column < Math.min(20, 19 + kx); column++) {
          expected[i]! += 0.1 * values[((b * 3 + c) * 20 + row) * 20 + column]!
        }
      }
    }
  }
  assertClose(await w.grad!.data(), expected, 1e-6, 'the gradient of weight')
})

test('captured steps give the bits of eager ones', async () => {
  const [x, w, b] = operands()
  const step = () => grad(conv2d(x, w, b, { groups: 2, stride: 2 }).tanh().sum(), [x, w, b])
  const eager = await Promise.all(step().map((t) => t.data()))
  const captured = capture(step)
  for (const [i, t] of captured().entries()) assertClose(await t.data(), eager[i]!, 0, `gradient ${i}`)
})

if (device.capabilities.f16) {
  test('float16 by autocast: the result is float16, gradients are float32', async () => {
    const [x, w, b] = operands()
    const y = conv2d(x, w, b, { groups: 2, padding: 1 })
    y.sum().backward()
    const want = await Promise.all([y, x.grad!, w.grad!, b.grad!].map((t) => t.data()))
    for (const t of [x, w, b]) t.grad = undefined
    const half = autocast('float16', () => conv2d(x, w, b, { groups: 2, padding: 1 }))
    if (half.dtype !== 'float16') throw new Error(`the result is ${half.dtype}`)
    half.sum().backward()
    const got = await Promise.all([half, x.grad!, w.grad!, b.grad!].map((t) => t.data()))
    for (const [i, values] of got.entries()) assertClose(values, want[i]!, 2e-3, `${i}`)
    if (w.grad!.dtype !== 'float32') throw new Error(`the gradient is ${w.grad!.dtype}`)
  })
}

test('second derivatives', () =>
  checkSecondDerivatives('conv2d', (x, w, b) => conv2d(x, w, b, { stride: 2, padding: 1 }).tanh(), [
    sample([2, 2, 5, 4], 1),
    sample([3, 2, 3, 3], 2),
    sample([3], 3),
  ]))

test('refuses what it cannot take', () => {
  const [x, w] = [tensor(new Float32Array(50), { shape: [1, 2, 5, 5] }), tensor(new Float32Array(18), { shape: [1, 2, 3, 3] })]
  const takes = 'takes [B, C, H, W], [O, C / groups, Kh, Kw] of one dtype, float32 or float16, and [O]'
  assertShapeError(
    () => conv2d(x, w.reshape([2, 1, 3, 3])),
    `conv2d: got float32 [1, 2, 5, 5] and float32 [2, 1, 3, 3]; ${takes}`,
  )
  assertShapeError(() => conv2d(x, w, tensor([1, 2])), 'float32 [2]')
  assertShapeError(() => conv2d(x, w.reshape([2, 1, 3, 3]), undefined, { groups: 3 }), 'with 3 groups')
  assertShapeError(() => conv2d(x, w.cast('int32')), 'int32')
  assertShapeError(() => conv2d(x, w, undefined, { dilation: 3 }), 'a kernel that reaches over [7, 7] is larger than x')
})
test('ends', () => device.destroy())
run()
