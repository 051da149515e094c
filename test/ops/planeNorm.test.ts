import { autocast, batchNorm, capture, groupNorm, recompute, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { assertShapeError, leaf, normals } from '../harness/checkOp.ts'
import { assertClose, messageOf } from '../harness/errors.ts'
import { checkGolden, goldenValues } from '../harness/networkGolden.ts'
import { checkSecondDerivatives, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('batchNorm and groupNorm')

for (const [name, groups] of [
  ['images', 2],
  ['vectors', 3],
  ['instances', 4],
] as const) {
  test(`groupNorm: PyTorch's values, ${name}`, () =>
    checkGolden(`groupNorm.${name}`, (x, w, b) => groupNorm(x, groups, w, b, 1e-2), ['x', 'weight', 'bias']))
}

for (const name of ['images', 'vectors']) {
  for (const mode of ['training', 'evaluation']) {
    const key = `batchNorm.${name}.${mode}`
    test(`batchNorm: PyTorch's values, ${name}, ${mode}`, async () => {
      let running: { runningMean: Tensor; runningVariance: Tensor } | undefined
      const op = (x: Tensor, w: Tensor, b: Tensor) => {
        running = {
          runningMean: tensor(goldenValues(`${key}.runningMean`)),
          runningVariance: tensor(goldenValues(`${key}.runningVariance`)),
        }
        return batchNorm(x, w, b, { ...running, training: mode === 'training', momentum: 0.3, eps: 1e-2 })
      }
      await checkGolden(key, op, ['x', 'weight', 'bias'])
      const moved = [running!.runningMean, running!.runningVariance]
      for (const [i, what] of ['movedMean', 'movedVariance'].entries())
        assertClose(await moved[i]!.data(), goldenValues(`${key}.${what}`), 1e-6, what)
    })
  }
}

const operands = () => [leaf(normals(2 * 3 * 8, 1), [2, 3, 2, 4]), leaf([1, 2, 3], [3]), leaf([0, 1, -1], [3])] as const
const statistics = () => ({ runningMean: tensor([0, 0, 0]), runningVariance: tensor([1, 1, 1]) })

test('only the gradients that are wanted', async () => {
  const ops: Record<string, (x: Tensor, w: Tensor, b: Tensor) => Tensor> = {
    groupNorm: (x, w, b) => groupNorm(x, 3, w, b),
    training: (x, w, b) => batchNorm(x, w, b),
    evaluation: (x, w, b) => batchNorm(x, w, b, statistics()),
  }
  for (const [name, op] of Object.entries(ops)) {
    const cotangent = tensor(normals(48, 4), { shape: [2, 3, 2, 4] })
    const whole = operands()
    op(...whole).backward(cotangent)
    for (const wanted of [0, 1, 2]) {
      const inputs = operands()
      for (const [i, input] of inputs.entries()) input.requiresGrad = i === wanted
      op(...inputs).backward(cotangent)
      assertClose(await inputs[wanted]!.grad!.data(), await whole[wanted]!.grad!.data(), 1e-6, `${name} ${wanted}`)
    }
  }
})

test('each replay of a captured step moves the running statistics once, and recompute does not move them twice', async () => {
  const [x, w, b] = operands()
  const values = await Promise.all(
    ['eager', 'captured', 'recomputed'].map(async (how) => {
      const running = statistics()
      const step = () => batchNorm(x, w, b, { ...running, training: true })
      if (how === 'recomputed') {
        for (let i = 0; i < 3; i++)
          recompute((input: Tensor) => batchNorm(input, w, b, { ...running, training: true }), x)
            .sum()
            .backward()
      } else {
        const replay = how === 'captured' ? capture(step) : step
        for (let i = 0; i < 3; i++) await replay().data()
      }
      return [...(await running.runningMean.data()), ...(await running.runningVariance.data())]
    }),
  )
  for (const found of values.slice(1)) assertClose(found, values[0]!, 0, 'running statistics')
})

test('a large mean costs no digits', async () => {
  const x = leaf(normals(4 * 2 * 25, 1), [4, 2, 5, 5])
  const far = x.detach().add(10_000).add(0)
  // The numbers as float32 holds them, back at 0.
  const near = far.sub(10_000)
  const [w, b] = [leaf([1, 1], [2]), leaf([0, 0], [2])]
  for (const op of [(t: Tensor) => batchNorm(t, w, b), (t: Tensor) => groupNorm(t, 1, w, b)])
    assertClose(await op(far).data(), await op(near).data(), 2e-6, 'y')
})

test('NaN and infinities spoil their channel or group, and no other', async () => {
  for (const spoilt of [NaN, Infinity, -Infinity, 3e38]) {
    const values = normals(48, 1)
    values[9] = spoilt
    values[10] = -spoilt
    const x = leaf(values, [2, 3, 2, 4])
    const [, w, b] = operands()
    const [one, two] = [await batchNorm(x, w, b).data(), await groupNorm(x, 3, w, b).data()]
    for (let i = 0; i < 48; i++) {
      const channel = Math.floor(i / 8) % 3
      if (Number.isNaN(one[i]!) !== (channel === 1)) throw new Error(`batchNorm of ${spoilt}: [${i}] is ${one[i]}`)
      if (Number.isNaN(two[i]!) !== (channel === 1 && i < 24)) throw new Error(`groupNorm of ${spoilt}: [${i}] is ${two[i]}`)
    }
  }
})

if (device.capabilities.f16) {
  test('inside autocast float16 becomes float32', () => {
    const [x, w, b] = operands()
    const half = x.detach().cast('float16')
    for (const y of autocast('float16', () => [batchNorm(half, w, b), groupNorm(half, 1, w, b)]))
      if (y.dtype !== 'float32') throw new Error(y.dtype)
  })
}

test('second derivatives', async () => {
  const inputs = [sample([3, 4, 5], 1), sample([4], 2), sample([4], 3)]
  const running = { runningMean: tensor([0, 1, 2, 3]), runningVariance: tensor([1, 2, 3, 4]) }
  await checkSecondDerivatives('groupNorm', (x, w, b) => groupNorm(x, 2, w, b, 0.1), inputs)
  await checkSecondDerivatives('batchNorm', (x, w, b) => batchNorm(x, w, b, { eps: 0.1 }), inputs)
  await checkSecondDerivatives('evaluation', (x, w, b) => batchNorm(x, w, b, running).tanh(), inputs)
})

test('refuses what it cannot take', () => {
  const [x, w, b] = operands()
  assertShapeError(
    () => groupNorm(x, 2, w, b),
    'groupNorm: got float32 [2, 3, 2, 4], float32 [3], float32 [3]; takes float32 [B, C, ...]',
  )
  assertShapeError(() => batchNorm(x, tensor([1]), b), 'batchNorm: got float32 [2, 3, 2, 4], float32 [1], float32 [3]')
  assertShapeError(
    () => batchNorm(x.slice([[0, 1], [], [0, 1], [0, 1]]), w, b),
    'batchNorm: training takes several elements a channel',
  )
  for (const [options, message] of [
    [{ training: false }, 'batchNorm: evaluation takes runningMean and runningVariance'],
    [{ runningMean: w }, 'batchNorm: runningMean and runningVariance come together'],
    [{ momentum: 2 }, 'batchNorm: got 2 as momentum, takes a number from 0 to 1'],
  ] as const) {
    const got = messageOf(() => batchNorm(x, w, b, options))
    if (got !== message) throw new Error(got)
  }
})
test('ends', () => device.destroy())
run()
