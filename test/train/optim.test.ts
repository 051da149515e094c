import { equal, is, ok, throws } from 'uvu/assert'
import { capture, colocate, fork, requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
import { ParaFormer } from '../../model/index.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { LossScale } from '../../train/optim/lossScale.ts'
import { clipFactor, ReferenceAdamW } from '../harness/adamW.ts'
import { leaf, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('optimizers')

/** A parameter of random values, and the same values in float64 for a reference. */
function followed(size: number, seed: number) {
  const data = normals(size, seed)
  return { t: leaf(data, [size]), want: Float64Array.from(data) }
}

/** Gives a parameter a gradient, by a backward pass. */
function give(t: Tensor, gradient: Float32Array): void {
  scope(() =>
    t
      .mul(tensor(gradient, { shape: t.shape }))
      .sum()
      .backward(),
  )
}

async function check(followed: readonly { t: Tensor; want: Float64Array }[], what: string): Promise<void> {
  for (const [i, { t, want }] of followed.entries()) assertClose(await t.data(), want, 1e-6, `${what}: parameter ${i}`)
}

test('two optimizers over one parameter both update it, each by moments of its own, as in PyTorch', async () => {
  const w = followed(100, 1)
  const [first, second] = [new AdamW([['w', w.t]]), new AdamW([['w', w.t]])]
  const wants = [new ReferenceAdamW(100, { decay: 0 }), new ReferenceAdamW(100, { decay: 0 })]
  for (const [i, which] of [0, 1, 1, 0, 1, 0].entries()) {
    const gradient = normals(100, 10 + i)
    give(w.t, gradient)
    const optimizer = [first, second][which]!
    optimizer.step(1e-2)
    optimizer.zeroGrad()
    wants[which]!.step(w.want, gradient, 1e-2)
    await check([w], `step ${i} of optimizer ${which}`)
  }
  equal([await first.steps(), await second.steps()], [{ w: 3 }, { w: 3 }])
  // Several steps use one gradient, without zeroGrad between them.
  const gradient = normals(100, 20)
  give(w.t, gradient)
  for (const [i, optimizer] of [first, second].entries()) {
    optimizer.step(1e-2)
    wants[i]!.step(w.want, gradient, 1e-2)
  }
  await check([w], 'both on one gradient')
  second.dispose()
  assertClose(await w.t.grad!.data(), gradient, 1e-6, 'the gradient, which the first has still')
  first.zeroGrad()
  const last = normals(100, 21)
  give(w.t, last)
  first.step(1e-2)
  wants[0]!.step(w.want, last, 1e-2)
  await check([w], 'the first after the second was disposed')
  first.dispose()
  is(w.t.grad, undefined)
  w.t.dispose()
})

test('the first may go, and the second goes on', async () => {
  const w = followed(33, 1)
  const [first, second] = [new AdamW([w.t]), new AdamW([w.t])]
  const want = new ReferenceAdamW(33, { decay: 0 })
  first.dispose()
  first.dispose()
  for (let i = 0; i < 2; i++) {
    const gradient = normals(33, i)
    give(w.t, gradient)
    second.step(1e-2)
    second.zeroGrad()
    want.step(w.want, gradient, 1e-2)
  }
  await check([w], 'the second')
  second.dispose()
})

test('optimizers over parts of a model: each clips by the norm of its own, and what lies between stays', async () => {
  const all = [7, 200, 64, 129, 1].map((size, i) => followed(size, i))
  const whole = new AdamW(all.map(({ t }) => t))
  const outer = [all[0]!, all[3]!]
  const part = new AdamW(outer.map(({ t }, i) => [`p${i}`, t] as const))
  // One parameter is in an arena already, and one is not.
  const extra = followed(10, 9)
  const more = new AdamW([all[4]!.t, extra.t])
  const groups = [all, outer, [all[4]!, extra]]
  const wants = groups.map((group) => group.map(({ want }) => new ReferenceAdamW(want.length, { decay: 0 })))
  for (let i = 0; i < 6; i++) {
    const which = i % 3
    const group = groups[which]!
    const gradients = new Map([...all, extra].map((parameter, k) => [parameter, normals(parameter.want.length, 100 * i + k)]))
    for (const [{ t }, gradient] of gradients) give(t, gradient)
    const own = group.map((parameter) => gradients.get(parameter)!)
    const norm = [whole, part, more][which]!.step(1e-2, 1)
    const factor = clipFactor(own, 1)
    assertClose(await norm.data(), [1 / factor - 1e-6], 1e-5, `norm of step ${i}`)
    group.forEach(({ want }, k) => {
      wants[which]![k]!.step(want, own[k]!, 1e-2, factor)
    })
    for (const optimizer of [whole, part, more]) optimizer.zeroGrad()
    await check([...all, extra], `step ${i}`)
  }
  equal(await part.steps(), { p0: 2, p1: 2 })
  const { m } = part.state()
  assertClose(await m.get('p1')!.data(), wants[1]![1]!.m, 1e-6, 'first moment of the part')
  is(
    await m
      .get('p0')!
      .data()
      .then(({ length }) => length),
    7,
  )
  for (const optimizer of [whole, part, more]) optimizer.dispose()
})

test('captured steps go on when other optimizers come and go, or branches are run coalesced', async () => {
  const values = normals(50, 1)
  const gradients = tensor(normals(50, 2))
  const follow = async (disturb: (w: Tensor, i: number) => void) => {
    const w = leaf(values, [50])
    const optimizer = new AdamW([w])
    optimizer.lr = 1e-2
    const step = capture((g: Tensor) => {
      w.mul(g).sum().backward()
      optimizer.step(optimizer.lr)
      optimizer.zeroGrad()
    })
    for (let i = 0; i < 5; i++) {
      step(gradients)
      disturb(w, i)
    }
    const data = await w.data()
    step.dispose()
    optimizer.dispose()
    return `${data}`
  }
  const want = await follow(() => {})
  let other: AdamW | undefined
  const got = await follow((w, i) => {
    if (i === 0) other = new AdamW([leaf([1], [1]), w])
    if (i === 1) colocate([w, leaf([1], [1])])
    if (i === 2) other!.dispose()
  })
  is(got, want)
})

test('an optimizer of the head alone goes on when the model is run coalesced, and what it has stays put', async () => {
  const model = new ParaFormer({
    imageSize: 4,
    patchSize: 2,
    channels: 1,
    dim: 8,
    heads: 2,
    dimHead: 4,
    mlpDim: 8,
    branches: 2,
    branchDepth: 1,
    classes: 3,
  })
  const head = model.head.linear.weight
  const optimizer = new AdamW(model.head.namedParameters())
  const images = tensor(normals(32, 1), { shape: [2, 1, 4, 4] })
  const before = await head.data()
  for (const mode of ['coalesced', 'serial'] as const) {
    scope(() => model.forward(images, { mode }).sum().backward())
    optimizer.step(1e-2)
    optimizer.zeroGrad()
  }
  const moved = await head.data()
  ok(
    moved.every((value, i) => value !== before[i]),
    'the head was not updated',
  )
  optimizer.dispose()
  model.dispose()
})

test('a new optimizer moves nothing where an earlier one left the parameters, and gives all memory back', async () => {
  const before = device.memory.liveBytes
  const parameters = [leaf(normals(100, 1), [100]), leaf(normals(30, 2), [5, 6])]
  const first = new AdamW(parameters)
  const places = () => parameters.map(({ storage, offset }) => ({ storage, offset }))
  const there = places()
  first.dispose()
  const second = new AdamW(parameters)
  ok(places().every(({ storage, offset }, i) => storage === there[i]!.storage && offset === there[i]!.offset))
  second.dispose()
  // An optimizer of only some of the parameters may move these to an arena of their own.
  const third = new AdamW([parameters[1]!])
  give(parameters[1]!, normals(30, 3))
  third.step(1e-3).dispose()
  third.dispose()
  for (const parameter of parameters) parameter.dispose()
  // Memory that earlier tests dropped may be freed meanwhile.
  ok(device.memory.liveBytes <= before, `${device.memory.liveBytes - before} bytes are left`)
})

test('gradients made before the optimizer, set by hand, and swapped; others are refused by name', async () => {
  const [a, b] = [followed(4, 1), followed(4, 2)]
  give(a.t, Float32Array.of(1, 2, 3, 4))
  const optimizer = new AdamW([
    ['a', a.t],
    ['b', b.t],
  ])
  b.t.grad = tensor([5, 6, 7, 8])
  const wants = [new ReferenceAdamW(4, { decay: 0 }), new ReferenceAdamW(4, { decay: 0 })]
  const step = async (gradients: readonly number[][], what: string) => {
    optimizer.step(1e-2)
    for (const [i, { want }] of [a, b].entries()) wants[i]!.step(want, gradients[i]!, 1e-2)
    await check([a, b], what)
  }
  await step(
    [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ],
    'made before and set by hand',
  )
  const [left, right] = [a.t.grad!, b.t.grad!]
  ;[a.t.grad, b.t.grad] = [right, left]
  await step(
    [
      [5, 6, 7, 8],
      [1, 2, 3, 4],
    ],
    'swapped',
  )
  // The gradient belongs to another parameter, which has none of its own.
  optimizer.zeroGrad()
  give(a.t, Float32Array.of(1, 1, 1, 1))
  b.t.grad = a.t.grad!.detach()
  await step(
    [
      [1, 1, 1, 1],
      [1, 1, 1, 1],
    ],
    'that of another one',
  )
  const refused: [grad: Tensor, message: RegExp][] = [
    [tensor([1, 2, 3]), /AdamW: the gradient of b is float32 \[3\], takes float32 \[4\]/],
    [tensor([[1, 2, 3, 4]]), /the gradient of b is float32 \[1, 4\], takes float32 \[4\]/],
    [tensor(Int32Array.of(1, 2, 3, 4)), /the gradient of b is int32 \[4\]/],
  ]
  for (const [grad, message] of refused) {
    b.t.grad = grad
    throws(() => optimizer.step(1e-2), message)
  }
  b.t.grad.dispose()
  throws(() => optimizer.step(1e-2), /the gradient of b was disposed/)
  b.t.grad = undefined
  optimizer.dispose()
})

test('without any gradient, or of frozen parameters, nothing happens, as in PyTorch', async () => {
  const [w, frozen] = [followed(5, 1), followed(5, 2)]
  frozen.t.requiresGrad = false
  const optimizer = new AdamW({
    [Symbol.iterator]: () =>
      [
        ['w', w.t],
        ['frozen', frozen.t],
      ].values(),
  } as never)
  is(await optimizer.step(1e-2).item(), 0)
  await check([w, frozen], 'no gradient')
  const want = new ReferenceAdamW(5, { decay: 0 })
  scope(() => w.t.mul(frozen.t).sum().backward())
  optimizer.step(1e-2)
  want.step(w.want, frozen.want, 1e-2)
  await check([w, frozen], 'frozen')
  equal(await optimizer.steps(), { w: 1, frozen: 0 })
  optimizer.dispose()
})

test('after dispose() every method says so, and so does a captured step; gradients are free of the arena', async () => {
  const w = followed(3, 1)
  const optimizer = new AdamW([w.t])
  optimizer.lr = 1e-2
  const step = capture(() => {
    w.t.sum().backward()
    optimizer.step(optimizer.lr)
    optimizer.zeroGrad()
  })
  step()
  optimizer.dispose()
  const before = await w.t.data()
  throws(() => step(), /AdamW\.lr: the optimizer was disposed; make a new one/)
  throws(() => optimizer.step(1e-3), /AdamW\.step: the optimizer was disposed/)
  throws(() => optimizer.gradNorm(), /was disposed/)
  throws(() => optimizer.state(), /was disposed/)
  throws(() => optimizer.setSteps({}), /was disposed/)
  equal(await w.t.data(), before)
  give(w.t, Float32Array.of(1, 2, 3))
  assertClose(await w.t.grad!.data(), [1, 2, 3], 0, 'gradient')
  step.dispose()
  const other = new AdamW([w.t])
  w.t.dispose()
  throws(() => other.step(1e-2), /AdamW\.step: the parameter 0 was disposed; make a new optimizer/)
  other.dispose()
})

test('an eps of 0: elements without gradient stay, others go by lr', async () => {
  const w = leaf([1, 2, 3], [3])
  const optimizer = new AdamW([w], { eps: 0, weightDecay: 0 })
  give(w, Float32Array.of(0, 1e-6, -5))
  optimizer.step(0.5)
  assertClose(await w.data(), [1, 1.5, 3.5], 1e-6, 'values')
  const { values } = optimizer.flat([w])
  ok((await values.data()).every(Number.isFinite), 'what lies behind the values is NaN')
  optimizer.dispose()
})

test('a loss scale stops halving below 1 and doubling at 2^126; the next good step is right', async () => {
  const w = followed(4, 1)
  const optimizer = new AdamW([w.t], { lossScale: new LossScale({ initial: 4, growthInterval: 1 }) })
  for (let i = 0; i < 200; i++) {
    give(w.t, Float32Array.of(1, Number.NaN, 1, 1))
    optimizer.step(1e-2)
    optimizer.zeroGrad()
  }
  equal(await optimizer.lossScale.save(), { scale: 0.5, steady: 0 })
  const gradient = Float32Array.of(1, -2, 3, 0.5)
  scope(() => w.t.mul(tensor(gradient)).sum().backward(optimizer.lossScale.value))
  assertClose([await optimizer.step(1e-2).item()], [Math.hypot(...gradient)], 1e-6, 'norm')
  new ReferenceAdamW(4, { decay: 0 }).step(w.want, gradient, 1e-2)
  await check([w], 'the good step')
  optimizer.zeroGrad()
  for (let i = 0; i < 200; i++) {
    give(w.t, Float32Array.of(0, 0, 0, 0))
    optimizer.step(0)
    optimizer.zeroGrad()
  }
  is((await optimizer.lossScale.save()).scale, 2 ** 126)
  optimizer.dispose()
})

for (const mode of ['serial', 'streams', 'coalesced'] as const) {
  test(`a weight that two branches share gets both gradients, once in the optimizer, ${mode}, captured too`, async () => {
    const w = followed(64 * 64, 1)
    const own = [followed(64, 2), followed(64, 3)]
    const shared = w.t.reshape([64, 64])
    shared.dispose()
    const named = [
      ['b0.w', w.t],
      ['b0.own', own[0]!.t],
      ['b1.w', w.t],
      ['b1.own', own[1]!.t],
    ] as const
    const optimizer = new AdamW(named)
    is(optimizer.parameters.length, 3)
    const x = normals(64, 4)
    const step = (input: Tensor) => {
      const branch = (i: number) => () => w.t.reshape([64, 64]).matmul(input).mul(own[i]!.t).sum()
      const [a, b] = fork(device, mode, { a: branch(0), b: branch(1) }) as [Tensor, Tensor]
      a.add(b).backward()
      const gradient = w.t.grad!.detach()
      const norm = optimizer.step(optimizer.lr)
      optimizer.zeroGrad()
      return [gradient, norm]
    }
    optimizer.lr = 1e-3
    const captured = capture(step)
    const wants = [w, ...own].map(({ want }) => new ReferenceAdamW(want.length, { decay: 0 }))
    for (let i = 0; i < 4; i++) {
      // The gradient of w by the sum of both products: d / dw [r, k] = (own0 [r] + own1 [r]) x [k].
      const products = Float64Array.from({ length: 64 }, (_, r) =>
        x.reduce((sum, value, k) => sum + value * w.want[64 * r + k]!, 0),
      )
      const gradient = Float64Array.from(
        { length: 64 * 64 },
        (_, at) => (own[0]!.want[at >> 6]! + own[1]!.want[at >> 6]!) * x[at & 63]!,
      )
      const input = tensor(x)
      const [found] = scope(() => (i < 2 ? step(input) : captured(input)))
      assertClose(await found!.data(), gradient, 1e-5, `gradient of step ${i}`)
      for (const [k, { want }] of [w, ...own].entries()) wants[k]!.step(want, k === 0 ? gradient : products, 1e-3)
      for (const [k, { t, want }] of [w, ...own].entries()) assertClose(await t.data(), want, 1e-4, `step ${i}: parameter ${k}`)
    }
    captured.dispose()
    optimizer.dispose()
  })
}

test('ends', () => device.destroy())
run()
