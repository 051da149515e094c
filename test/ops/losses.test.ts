import {
  autocast,
  bceWithLogits,
  crossEntropies,
  crossEntropy,
  type KlDivOptions,
  klDiv,
  mseLoss,
  requestDevice,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { assertShapeError, leaf } from '../harness/checkOp.ts'
import { checkGolden } from '../harness/networkGolden.ts'
import { checkSecondDerivatives, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('losses')

const SMOOTHED = {
  smooth: { labelSmoothing: 0.2 },
  ignored: { ignoreIndex: 1 },
  both: { labelSmoothing: 0.1, ignoreIndex: 9 },
}

for (const reduction of ['mean', 'sum', 'none'] as const) {
  test(`PyTorch's values, ${reduction}`, async () => {
    await checkGolden(`mseLoss.${reduction}`, (x, t) => mseLoss(x, t, { reduction }), ['x', 'targets'])
    await checkGolden(`bceWithLogits.${reduction}`, (x, t) => bceWithLogits(x, t, { reduction }), ['x', 'targets'])
    for (const [name, options] of Object.entries(SMOOTHED)) {
      const op = (x: Tensor, labels: Tensor) => crossEntropy(x, labels, { ...options, reduction })
      await checkGolden(`crossEntropy.${name}.${reduction}`, op, ['x', 'labels'])
    }
  })
}
for (const [stored, reduction] of [
  ['mean', 'mean'],
  ['sum', 'sum'],
  ['none', 'none'],
  ['batchmean', 'batchMean'],
] as const) {
  test(`PyTorch's values, klDiv ${reduction}`, async () => {
    const op = (options: KlDivOptions) => (x: Tensor, t: Tensor) => klDiv(x, t, { ...options, reduction })
    await checkGolden(`klDiv.${stored}`, op({}), ['x', 'targets'])
    await checkGolden(`klDivLog.${stored}`, op({ logTarget: true }), ['x', 'targets'])
  })
}

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

test('special values, as in PyTorch', async () => {
  const rows: [loss: (x: Tensor, t: Tensor) => Tensor, x: number[], targets: number[], y: number[], dx: number[]][] = [
    [
      (x, t) => mseLoss(x, t, { reduction: 'none' }),
      [nan, infinity, 3e38],
      [0, 1, -1],
      [nan, infinity, infinity],
      [nan, infinity, infinity],
    ],
    [
      (x, t) => bceWithLogits(x, t, { reduction: 'none' }),
      [nan, infinity, infinity, -infinity, -infinity, 1, 200, -200],
      [0, 0, 1, 0, 1, nan, 1, 0],
      [nan, infinity, nan, nan, nan, nan, 0, 0],
      [nan, 1, 0, 0, -1, nan, 0, 0],
    ],
    [
      (x, t) => klDiv(x, t, { reduction: 'none' }),
      [nan, -infinity, -1, -1],
      [0.5, 0.5, 0, nan],
      [nan, infinity, 0, nan],
      [-0.5, -0.5, -0, nan],
    ],
  ]
  for (const [loss, values, targets, y, dx] of rows) {
    const x = leaf(values, [values.length])
    const out = loss(x, tensor(targets))
    out.backward(tensor(values.map(() => 1)))
    for (const [what, got, expected] of [
      ['y', await out.data(), y],
      ['dx', await x.grad!.data(), dx],
    ] as const) {
      const right = expected.every((value, i) =>
        Number.isNaN(value) ? Number.isNaN(got[i]!) : Math.abs(got[i]! - value) < 1e-6 || got[i] === value,
      )
      if (!right) throw new Error(`${what} is ${got}, expected ${expected}`)
    }
  }
})

test('a mean of no rows is NaN, a sum of none is 0, and a smoothed label of -Infinity has loss Infinity', async () => {
  const x = leaf([1, -infinity, 2, 3], [2, 2])
  const none = tensor(Int32Array.of(7, 7))
  if (!Number.isNaN(await crossEntropy(x, none, { ignoreIndex: 7 }).item())) throw new Error('the mean is a number')
  const sum = await crossEntropy(x, none, { ignoreIndex: 7, reduction: 'sum' }).item()
  const endless = await crossEntropy(x, tensor(Int32Array.of(1, 0)), { labelSmoothing: 0.1, reduction: 'sum' }).item()
  if (sum !== 0 || endless !== infinity) throw new Error(`${sum} ${endless}`)
})

test('targets that are truth values', async () => {
  const x = tensor([1, -2, 3])
  const [ints, floats] = [x.gt(0), tensor([1, 0, 1])]
  const [a, b] = [await bceWithLogits(x, ints).item(), await bceWithLogits(x, floats).item()]
  if (a !== b) throw new Error(`${a}, expected ${b}`)
})

test('second derivatives', async () => {
  const probabilities = sample([3, 4], 2, (value) => 0.1 + Math.abs(value))
  for (const reduction of ['mean', 'none'] as const) {
    const losses = [
      mseLoss,
      bceWithLogits,
      klDiv,
      (x: Tensor, t: Tensor, o: KlDivOptions) => klDiv(x, t, { ...o, logTarget: true }),
    ]
    for (const [i, loss] of losses.entries()) {
      const op = (x: Tensor, t: Tensor) => loss(x, t, { reduction }).exp()
      await checkSecondDerivatives(`loss ${i} ${reduction}`, op, [sample([3, 4], 1), probabilities], {
        step: 1e-3,
        tolerance: 2e-2,
      })
    }
    for (const options of [{}, ...Object.values(SMOOTHED)]) {
      const labels = tensor(Int32Array.of(3, 1, 9, 0).map((label) => ('ignoreIndex' in options || label < 4 ? label : 2)))
      if ('ignoreIndex' in options && options.ignoreIndex === 1) labels.write(Int32Array.of(3, 1, 2, 0))
      const op = (x: Tensor) => crossEntropy(x, labels, { ...options, reduction }).exp()
      await checkSecondDerivatives(`crossEntropy ${reduction}`, op, [sample([4, 4], 1)])
    }
    const classes = tensor(Int32Array.of(3, 1))
    await checkSecondDerivatives('crossEntropies', (x: Tensor) => crossEntropies(x, classes).exp(), [sample([3, 2, 4], 1)])
  }
})

if (device.capabilities.f16) {
  test('inside autocast float16 becomes float32', () => {
    const [x, t] = [tensor([1, 2]).cast('float16'), tensor([0, 1]).cast('float16')]
    for (const loss of autocast('float16', () => [mseLoss(x, t), bceWithLogits(x, t), klDiv(x, t)]))
      if (loss.dtype !== 'float32') throw new Error(loss.dtype)
  })
}

test('refuses what it cannot take', () => {
  const x = tensor([1, 2])
  assertShapeError(
    () => mseLoss(x, tensor([1])),
    'mseLoss: got float32 [2] and float32 [1]; takes two of float32 and one shape',
  )
  assertShapeError(
    () => klDiv(x, x, { reduction: 'batchmean' as 'mean' }),
    `klDiv: got reduction "batchmean", takes one of 'mean'`,
  )
})
test('ends', () => device.destroy())
run()
