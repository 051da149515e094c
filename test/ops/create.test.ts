import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { arange, full, ones, rand, randn, zeros } from '../../engine/ops/create.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { streamOf } from '../../kernels/random/index.ts'
import { randomReference } from '../../kernels/random/reference.ts'
import { assertShapeError } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('create ops')

async function check(what: string, t: Tensor, shape: number[], values: ArrayLike<number>, dtype = 'float32'): Promise<void> {
  if (`${t.shape}` !== `${shape}` || t.dtype !== dtype) throw new Error(`${what}: ${t.dtype} [${t.shape}]`)
  assertClose(await t.data(), values, 1e-7, what)
}

test('zeros, ones, full', async () => {
  await check('rank 0', full([], -2.5), [], [-2.5])
  await check('zeros', zeros([3, 5]), [3, 5], new Array(15).fill(0))
  await check('zeros of int32', zeros([7], { dtype: 'int32' }), [7], new Array(7).fill(0), 'int32')
  await check('ones', ones([129]), [129], new Array(129).fill(1))
  await check('ones of int32', ones([2, 2], { dtype: 'int32' }), [2, 2], [1, 1, 1, 1], 'int32')
  await check('full of int32', full([3], -2147483647, { dtype: 'int32' }), [3], new Array(3).fill(-2147483647), 'int32')
  if (!ones([2], { requiresGrad: true }).requiresGrad || ones([2]).requiresGrad)
    throw new Error('requiresGrad is not what was asked')
})

test('arange', async () => {
  await check('a stop', arange(5), [5], [0, 1, 2, 3, 4])
  await check('a start', arange(-2, 3), [5], [-2, -1, 0, 1, 2])
  await check('a step', arange(0, 1, 0.25), [4], [0, 0.25, 0.5, 0.75])
  await check('downwards', arange(3, -4, -3), [3], [3, 0, -3])
  // float32 cannot hold i, 3 i or the sum exactly.
  const large = arange(16777217, 16777217 + 3 * 20_000, 3)
  await check(
    'beyond 2^24',
    large,
    [20_000],
    Array.from({ length: 20_000 }, (_, i) => Math.fround(16777217 + 3 * i)),
  )
  await check('int32', arange(1, 8, 3, { dtype: 'int32' }), [3], [1, 4, 7], 'int32')
  await check('options only', arange(2, { dtype: 'int32' }), [2], [0, 1], 'int32')
})

test('random numbers are those of the state, and go on', async () => {
  device.random.seed = 2 ** 40 + 5
  device.random.counter = 7
  const expected = (distribution: 'normal' | 'uniform', count: number, stream: number) =>
    randomReference({ count, distribution, ...streamOf(2 ** 40 + 5, stream) }, { y: new Float64Array(count) }).y!
  const first = randn([3, 11])
  assertClose(await first.data(), expected('normal', 33, 7), 2e-6, 'randn')
  assertClose(await rand([257]).data(), expected('uniform', 257, 8), 0, 'rand')
  if (device.random.counter !== 9) throw new Error(`two draws took the counter to ${device.random.counter}`)
  device.random.counter = 7
  if (`${await randn([3, 11]).data()}` !== `${await first.data()}`) throw new Error('the same stream gave other numbers')
})

test('their distribution', async () => {
  device.random.seed = 1
  device.random.counter = 0
  const moments = (data: ArrayLike<number>) => {
    const powers = [0, 0, 0, 0]
    for (let i = 0; i < data.length; i++) for (let p = 0; p < 4; p++) powers[p]! += data[i]! ** (p + 1) / data.length
    return powers
  }
  const close = (what: string, actual: number[], expected: number[], spread: number[]) => {
    for (const [p, value] of actual.entries()) {
      // The limit is six standard deviations of the mean of 200,000 draws.
      const limit = (6 * spread[p]!) / Math.sqrt(200_000)
      if (!(Math.abs(value - expected[p]!) <= limit))
        throw new Error(`${what}: moment ${p + 1} is ${value}, expected ${expected[p]}`)
    }
  }
  const normals = await randn([200_000]).data()
  close('randn', moments(normals), [0, 1, 0, 3], [1, Math.sqrt(2), Math.sqrt(15), Math.sqrt(96)])
  const uniforms = await rand([200_000]).data()
  close('rand', moments(uniforms), [1 / 2, 1 / 3, 1 / 4, 1 / 5], [0.29, 0.3, 0.29, 0.27])
  if (!uniforms.every((value) => value >= 0 && value < 1)) throw new Error('rand left [0, 1)')
  let product = 0
  for (let i = 1; i < normals.length; i++) product += (normals[i]! * normals[i - 1]!) / normals.length
  if (!(Math.abs(product) < 6 / Math.sqrt(200_000))) throw new Error(`neighbours of randn are correlated: ${product}`)
})

test('refusals name the op', () => {
  assertShapeError(() => zeros([2, 0]), 'zeros: shape [2, 0]')
  assertShapeError(() => full([2], 0.5, { dtype: 'int32' }), 'full: got 0.5')
  assertShapeError(() => ones([2], { dtype: 'int32', requiresGrad: true }), 'ones: got requiresGrad and int32')
  assertShapeError(() => arange(0), 'arange: there are 0 numbers')
  assertShapeError(() => arange(0, 5, 0), 'arange: there are Infinity numbers')
  assertShapeError(() => arange(0, Number.NaN), 'arange: there are NaN numbers')
  assertShapeError(() => arange(0, 1, 0.5, { dtype: 'int32' }), 'arange: got 0.5')
  assertShapeError(() => randn([2], { dtype: 'int32' }), 'randn: got dtype int32')
  assertShapeError(() => rand([-1]), 'rand: shape [-1]')
})
test('ends', () => device.destroy())
run()
