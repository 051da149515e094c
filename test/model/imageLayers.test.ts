import { equal, is, ok, throws } from 'uvu/assert'
import {
  avgPool2d,
  batchNorm,
  capture,
  conv2d,
  groupNorm,
  maxPool2d,
  randn,
  relu,
  requestDevice,
  scope,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { AvgPool2d, BatchNorm2d, Conv2d, GroupNorm, Linear, MaxPool2d, Sequential } from '../../model/index.ts'
import { Sgd } from '../../train/optim/sgd.ts'
import { normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('layers for images')
const images = () => tensor(normals(2 * 4 * 6 * 5, 1), { shape: [2, 4, 6, 5] })
const same = async (a: Tensor, b: Tensor) => equal([a.shape, await a.data()], [b.shape, await b.data()])

test('Conv2d: options, PyTorch’s layout and range of values', async () => {
  device.random.seed = 1
  const layer = new Conv2d(4, 6, [3, 2], { stride: 2, padding: [1, 0], dilation: 1, groups: 2 })
  equal(
    Object.entries(layer.stateDict()).map(([name, { shape }]) => [name, shape]),
    [
      ['weight', [6, 2, 3, 2]],
      ['bias', [6]],
    ],
  )
  const values = [...(await layer.weight.data())].map(Math.abs)
  ok(Math.max(...values) <= 1 / Math.sqrt(12) && Math.max(...values) > 0.9 / Math.sqrt(12))
  const x = images()
  await same(layer.forward(x), conv2d(x, layer.weight, layer.bias, { stride: 2, padding: [1, 0], groups: 2 }))
  is(new Conv2d(4, 6, 1, { bias: false }).bias, undefined)
  throws(() => new Conv2d(4, 6, 0), /Conv2d: got 0 as size/)
  throws(() => new Conv2d(4, 6, 3, { groups: 4 }), /Conv2d: got 4 as groups, takes a divisor of 4 inputs and 6 outputs/)
  throws(() => new Conv2d(4, 6, 3, { strides: 2 } as never), /unknown option "strides" \(did you mean "stride"\?\)/)
  throws(() => new Conv2d(4, 6, 3, { stride: 0 }), /Conv2d: got 0 as stride/)
})

test('MaxPool2d and AvgPool2d', async () => {
  const x = images()
  await same(new MaxPool2d(2).forward(x), maxPool2d(x, 2))
  await same(new MaxPool2d(3, { stride: 2, padding: 1 }).forward(x), maxPool2d(x, 3, { stride: 2, padding: 1 }))
  await same(new AvgPool2d([2, 1], { stride: 1 }).forward(x), avgPool2d(x, [2, 1], { stride: 1 }))
  throws(() => new MaxPool2d(0), /MaxPool2d: got 0 as size/)
  throws(() => new AvgPool2d(2, { padding: -1 }), /AvgPool2d: got -1 as padding/)
})

test('GroupNorm', async () => {
  const layer = new GroupNorm(2, 4, 1e-3)
  layer.weight.write(Float32Array.of(1, 2, 3, 4))
  await same(layer.forward(images()), groupNorm(images(), 2, layer.weight, layer.bias, 1e-3))
  throws(() => new GroupNorm(3, 4), /GroupNorm: got 3 as groups, takes a divisor of 4 channels/)
})

test('BatchNorm2d: statistics of the mini-batch move the running ones in training, captured too', async () => {
  const [layer, captured] = [new BatchNorm2d(4, { momentum: 0.3 }), new BatchNorm2d(4, { momentum: 0.3 })]
  equal(Object.keys(layer.stateDict()), ['weight', 'bias', 'runningMean', 'runningVariance'])
  equal(
    layer.namedParameters().map(([name]) => name),
    ['weight', 'bias'],
  )
  const before = await layer.forward(images()).data()
  assertClose(
    before,
    (await images().data()).map((value: number) => value / Math.sqrt(1 + 1e-5)) as Float32Array,
    1e-6,
    'before training',
  )
  layer.train()
  captured.train()
  const step = capture((x: Tensor) => captured.forward(x))
  const want = { mean: new Float64Array(4), variance: new Float64Array(4).fill(1) }
  for (let i = 0; i < 3; i++) {
    const x = scope(() =>
      images()
        .mul(1 + i)
        .add(i),
    )
    await same(layer.forward(x), batchNorm(x, layer.weight, layer.bias))
    step(x)
    const data = await x.data()
    for (let c = 0; c < 4; c++) {
      const own = Array.from(data).filter((_, at) => Math.floor(at / 30) % 4 === c)
      const mean = own.reduce((sum, value) => sum + value, 0) / own.length
      const variance = own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (own.length - 1)
      want.mean[c]! += 0.3 * (mean - want.mean[c]!)
      want.variance[c]! += 0.3 * (variance - want.variance[c]!)
    }
  }
  for (const { runningMean, runningVariance } of [layer, captured]) {
    assertClose(await runningMean.data(), want.mean, 1e-5, 'running mean')
    assertClose(await runningVariance.data(), want.variance, 1e-5, 'running variance')
  }
  step.dispose()
  layer.eval()
  const { runningMean, runningVariance } = layer
  await same(layer.forward(images()), batchNorm(images(), layer.weight, layer.bias, { runningMean, runningVariance }))
  throws(() => new BatchNorm2d(4, { momentum: 2 }), /BatchNorm2d: got 2 as momentum/)
})

test('a small net of all of them learns, and is loaded with its running statistics', async () => {
  device.random.seed = 3
  const net = () =>
    new Sequential(
      new Conv2d(1, 6, 3, { padding: 1, bias: false }),
      new BatchNorm2d(6),
      relu,
      new MaxPool2d(2),
      new Conv2d(6, 8, 3, { padding: 1 }),
      new GroupNorm(2, 8),
      relu,
      new AvgPool2d(4),
      (x) => x.reshape([x.shape[0]!, -1]),
      new Linear(8, 1),
    )
  const model = net()
  model.train()
  const optimizer = new Sgd(model.namedParameters(), { momentum: 0.9 })
  const x = randn([8, 1, 8, 8])
  const target = x.mean([1, 2, 3], true).reshape([8, 1])
  const step = capture((x: Tensor, target: Tensor) => {
    const loss = model.forward(x).sub(target).pow(2).mean()
    loss.backward()
    optimizer.step(optimizer.lr)
    optimizer.zeroGrad()
    return loss
  })
  optimizer.lr = 0.05
  const losses: number[] = []
  for (let i = 0; i < 25; i++) losses.push(await step(x, target).item())
  ok(losses.at(-1)! < 0.2 * losses[0]!, `${losses}`)
  step.dispose()
  model.eval()
  const other = net()
  other.loadStateDict(model.stateDict())
  await same(other.forward(x), model.forward(x))
  optimizer.dispose()
})

test('ends', () => device.destroy())
run()
