// Long sums of the ops on images: rounding must not grow with the number of terms. Constants are the worst case.
import {
  avgPool2d,
  batchNorm,
  conv2d,
  crossEntropy,
  full,
  groupNorm,
  mseLoss,
  requestDevice,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('long sums of images')
/** Largest relative error of a sum. */
const TOLERANCE = 1e-6

async function near(t: Tensor, expected: number, what: string, tolerance = TOLERANCE): Promise<void> {
  for (const [i, value] of (await t.data()).entries()) {
    const error = Math.abs(value - expected) / Math.abs(expected)
    if (!(error <= tolerance))
      throw new Error(`${what}[${i}]: got ${value}, expected ${expected}: ${error.toExponential(2)} off`)
  }
}

const product = Math.fround(0.1) * Math.fround(0.7)

/** Runs a body with each variant of a kernel that runs on this device. */
function onVariants(kernel: string, title: string, variants: readonly string[], body: () => Promise<void>): void {
  for (const variant of variants) {
    if (variant === 'subgroup' && device.capabilities.subgroupMinSize < 4) continue
    test(`${title}, ${variant}`, async () => {
      device.kernels.pinned.set(kernel, variant)
      try {
        await body()
      } finally {
        device.kernels.pinned.delete(kernel)
      }
    })
  }
}

onVariants('conv2d', 'conv2d of many channels and many pixels', ['direct', 'subgroup', 'tiled'], async () => {
  const [x, weight] = [full([1, 30_000, 1, 3], 0.1), full([2, 30_000, 1, 1], 0.7)]
  await near(conv2d(x, weight), 30_000 * product, 'y')
  const [image, kernel] = [full([20, 1, 60, 85], 0.1), full([2, 1, 1, 1], 1, { requiresGrad: true })]
  const bias = full([2], 0, { requiresGrad: true })
  const y = conv2d(image, kernel, bias)
  y.backward(full(y.shape, 0.7))
  await near(kernel.grad!, 102_000 * product, 'the gradient of weight')
  await near(bias.grad!, 102_000 * Math.fround(0.7), 'the gradient of bias')
})

test('a chain of conv2d that is as long as the built-in cuts leave it', async () => {
  for (const channels of [47, 300, 3000]) {
    const [x, weight] = [full([1, channels, 2, 2], 0.1), full([5, channels, 1, 1], 0.7)]
    await near(conv2d(x, weight), channels * product, `${channels} channels`)
  }
})

test('average pooling of large windows, and of many that overlap', async () => {
  for (const [image, size, stride] of [
    [[300, 500], [300, 500], 1],
    [[70, 60], [40, 30], 1],
  ] as const) {
    const x = full([1, 1, ...image], 0.1, { requiresGrad: true })
    const y = avgPool2d(x, size, { stride })
    await near(y, Math.fround(0.1), 'y')
    y.backward(full(y.shape, 0.7))
    const total = Float64Array.from(await x.grad!.data()).reduce((sum, value) => sum + value, 0)
    if (!(Math.abs(total / (y.size * Math.fround(0.7)) - 1) < TOLERANCE)) throw new Error(`the gradients add up to ${total}`)
  }
})

onVariants('planeMoments', 'batchNorm and groupNorm over many elements', ['direct', 'workgroup'], async () => {
  for (const n of [197, 1000, 200_004, 100_003]) {
    device.kernels.pinned.set('planeGradientSums', device.kernels.pinned.get('planeMoments')!)
    const values = Float32Array.from({ length: 2 * n }, (_, i) => (i % n < n / 2 ? 0.1 : 0.7))
    const x = tensor(values, { shape: [2, 1, n] })
    const low = Math.ceil(n / 2) / n
    const [a, b] = [Math.fround(0.1), Math.fround(0.7)]
    const mean = low * a + (1 - low) * b
    const deviation = Math.sqrt(low * (a - mean) ** 2 + (1 - low) * (b - mean) ** 2)
    const [weight, bias] = [full([1], 1, { requiresGrad: true }), full([1], 0, { requiresGrad: true })]
    for (const norm of [() => batchNorm(x, weight, bias, { eps: 0 }), () => groupNorm(x, 1, weight, bias, 0)]) {
      const y = norm()
      await near(y.slice([[], [], [0, 1]]), (a - mean) / deviation, `y of ${n}`, 2e-6)
      y.backward(full(y.shape, 0.1))
      await near(bias.grad!, 2 * n * Math.fround(0.1), `the gradient of bias, ${n}`)
      weight.grad = bias.grad = undefined
    }
  }
  device.kernels.pinned.delete('planeGradientSums')
})

test('losses of many elements and of many classes', async () => {
  const n = 1_000_003
  await near(
    mseLoss(full([n], 0.1), full([n], 0.8), { reduction: 'sum' }),
    n * (Math.fround(0.1) - Math.fround(0.8)) ** 2,
    'mse',
  )
  for (const classes of [197, 1000, 40_003]) {
    const labels = tensor(Int32Array.of(0, 1))
    const loss = crossEntropy(full([2, classes], 0.1), labels, { labelSmoothing: 0.3, reduction: 'none' })
    await near(loss, Math.log(classes), `crossEntropy of ${classes}`)
  }
})
test('ends', () => device.destroy())
run()
