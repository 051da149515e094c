import { avgPool2d, maxPool2d, type PoolOptions, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import type { PairOption } from '../../engine/ops/pairs.ts'
import { assertShapeError, leaf } from '../harness/checkOp.ts'
import { messageOf } from '../harness/errors.ts'
import { checkGolden } from '../harness/networkGolden.ts'
import { checkSecondDerivatives, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('pooling ops')

/** The cases of test/golden/generate.py. */
const GOLDEN: Record<string, [size: PairOption, options?: PoolOptions]> = {
  halved: [2],
  padded: [3, { stride: 1, padding: 1 }],
  uneven: [[3, 2], { stride: [2, 3], padding: [1, 0] }],
}

for (const [name, [size, options]] of Object.entries(GOLDEN)) {
  test(`PyTorch's values, ${name}`, async () => {
    await checkGolden(`maxPool2d.${name}`, (x) => maxPool2d(x, size, options), ['x'])
    await checkGolden(`avgPool2d.${name}`, (x) => avgPool2d(x, size, options), ['x'])
  })
}
test('the first of equal elements gets the gradient, as in PyTorch', () =>
  checkGolden('maxPool2d.ties', (x) => maxPool2d(x, 3, { stride: 1 }), ['x']))

test('NaN and infinities, as in PyTorch', async () => {
  const { NaN: nan, NEGATIVE_INFINITY: low } = Number
  const x = leaf([1, nan, 2, low, low, low, nan, 4, Infinity, 5, low, low], [1, 1, 2, 6])
  const expected = async (t: Tensor, values: readonly number[]) => {
    const got = [...(await t.data())]
    if (!values.every((value, i) => Object.is(value, got[i]))) throw new Error(`got ${got}, expected ${values}`)
  }
  await expected(avgPool2d(x, [1, 2]), [nan, low, low, nan, Infinity, low])
  const y = maxPool2d(x, [1, 2])
  await expected(y, [nan, 2, low, nan, Infinity, low])
  y.backward(tensor([1, 2, 3, 4, 5, 6], { shape: [1, 1, 2, 3] }))
  await expected(x.grad!, [0, 1, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0])
})

if (device.capabilities.f16) {
  test('float16 stays float16', async () => {
    const x = tensor(
      Float32Array.from({ length: 32 }, (_, i) => (i * 7) % 32),
      { shape: [1, 2, 4, 4] },
    )
    for (const pool of [maxPool2d, avgPool2d]) {
      const [half, full] = [pool(x.cast('float16'), 2), pool(x, 2)]
      if (half.dtype !== 'float16' || `${await half.data()}` !== `${await full.data()}`) throw new Error(`${await half.data()}`)
    }
  })
}

test('second derivatives', async () => {
  for (const pool of [maxPool2d, avgPool2d]) {
    const op = (x: Tensor) => pool(x, 3, { stride: 2, padding: 1 }).exp()
    await checkSecondDerivatives(pool.name, op, [sample([2, 2, 5, 6], 1)], { step: 1e-3, tolerance: 2e-2 })
  }
})

test('refuses what it cannot take', () => {
  const x = tensor(new Float32Array(50), { shape: [1, 2, 5, 5] })
  assertShapeError(
    () => maxPool2d(x.reshape([2, 25]), 2),
    'maxPool2d: got float32 [2, 25]; takes [B, C, H, W], float32 or float16',
  )
  assertShapeError(() => avgPool2d(x, 6), 'avgPool2d: a window [6, 6] is larger than x [1, 2, 5, 5] with its padding')
  const padded = messageOf(() => maxPool2d(x, 2, { padding: 2 }))
  if (padded !== 'maxPool2d: got padding [2, 2], takes at most half of the size [2, 2]') throw new Error(padded)
})
test('ends', () => device.destroy())
run()
