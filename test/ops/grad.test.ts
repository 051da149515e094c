import * as ops from '../../engine/index.ts'
import { defineOp, grad, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { normals } from '../harness/checkOp.ts'
import { assertClose, messageOf } from '../harness/errors.ts'
import { checkSecondDerivatives, type Sample, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('grad')
const leafOf = (data: ArrayLike<number>, shape = [data.length]) =>
  tensor(Float32Array.from(data), { shape, requiresGrad: true })
const positive = (value: number) => 0.5 + Math.abs(value)

/** The ops that have second derivatives, with inputs around which they are smooth. */
const SMOOTH: Record<string, [op: (...inputs: Tensor[]) => Tensor, inputs: Sample[]]> = {
  'add, broadcast': [(a, b) => a.add(b).mul(a), [sample([3, 5], 1), sample([5], 2)]],
  'sub, broadcast': [(a, b) => a.sub(b).mul(b), [sample([3, 1], 1), sample([3, 5], 2)]],
  'mul, broadcast': [ops.mul, [sample([3, 5], 1), sample([3, 1], 2)]],
  'mul by itself': [(a) => a.mul(a).mul(a), [sample([7], 1)]],
  div: [ops.div, [sample([3, 5], 1), sample([5], 2, positive)]],
  'numbers on both sides': [(a) => ops.div(3, ops.sub(2, a.mul(0.25).add(-4))), [sample([7], 1)]],
  neg: [(a) => a.neg().mul(a), [sample([7], 1)]],
  exp: [ops.exp, [sample([7], 1)]],
  log: [ops.log, [sample([7], 1, positive)]],
  sqrt: [ops.sqrt, [sample([7], 1, positive)]],
  tanh: [ops.tanh, [sample([7], 1)]],
  sigmoid: [ops.sigmoid, [sample([7], 1)]],
  relu: [(a) => a.relu().mul(a), [sample([8], 1, (value) => value + Math.sign(value))]],
  ...({
    gelu: [(a) => a.gelu(), [sample([7], 1)]],
    'gelu with tanh': [(a) => a.gelu({ approximate: 'tanh' }), [sample([7], 1)]],
    pow: [ops.pow, [sample([3, 5], 1, positive), sample([5], 2)]],
    'pow by a number': [(a) => a.pow(3), [sample([7], 1)]],
    'where and clamp': [(a, b) => ops.where(tensor([1, 0, 1]), a, b).mul(a.clamp(-9, 9)), [sample([3], 1), sample([3], 2)]],
    'abs, square and floor': [
      (a) => a.abs().mul(a.square()).add(a.floor()),
      [sample([8], 1, (value) => value + Math.sign(value))],
    ],
    'reciprocal and rsqrt': [(a) => a.reciprocal().add(a.rsqrt()), [sample([7], 1, (value) => 1 + Math.abs(value))]],
    'sin and cos': [(a) => a.sin().mul(a.cos()), [sample([7], 1)]],
    'exp2, expm1 and erf': [(a) => a.exp2().add(a.expm1()).mul(a.erf()), [sample([7], 1)]],
    'log2 and log1p': [(a) => a.log2().mul(a.log1p()), [sample([7], 1, positive)]],
    'silu, softplus and leakyRelu': [
      (a) => a.silu().add(a.softplus()).mul(a.leakyRelu(0.2)),
      [sample([8], 1, (value) => value + Math.sign(value))],
    ],
    'minimum and maximum': [
      (a, b) => a.minimum(b).mul(a.maximum(0.1)),
      [sample([3, 5], 1, (value) => value + 9 * Math.sign(value)), sample([5], 2)],
    ],
    atan2: [ops.atan2, [sample([3, 5], 1, positive), sample([5], 2, positive)]],
    remainder: [
      (a, b) => a.add(20.5).remainder(b.mul(0.01).add(3)).mul(b),
      [sample([5], 1, (value) => 0.1 * value), sample([5], 2)],
    ],
    lerp: [ops.lerp, [sample([3, 5], 1), sample([5], 2), sample([3, 1], 3)]],
  } satisfies Record<string, [op: (...inputs: Tensor[]) => Tensor, inputs: Sample[]]>),
  'cast there and back': [(a) => a.cast('float32').exp(), [sample([5], 1)]],
  reshape: [(a) => a.exp().reshape([5, 3]).transpose(0, 1).mul(a), [sample([3, 5], 1)]],
  'a strided view': [(a) => a.transpose(0, 1).exp(), [sample([3, 5], 1)]],
  permute: [
    (a) =>
      a
        .mul(a)
        .permute([2, 0, 1])
        .mul(a.permute([2, 0, 1])),
    [sample([2, 3, 4], 1)],
  ],
  broadcastTo: [(a) => a.exp().broadcastTo([4, 3, 5]).mul(a), [sample([3, 1], 1)]],
  'sum over two dims': [(a) => a.exp().sum([0, 2]).mul(a.sum(2).sum(0)), [sample([2, 3, 4], 1)]],
  'mean, keepdim': [(a) => a.exp().mean(1, true).mul(a), [sample([3, 5], 1)]],
  matmul: [ops.matmul, [sample([3, 4], 1), sample([4, 5], 2)]],
  'matmul of batches': [ops.matmul, [sample([2, 3, 4], 1), sample([4, 5], 2)]],
  'matmul, a vector on the left': [ops.matmul, [sample([4], 1), sample([2, 4, 5], 2)]],
  'matmul, a vector on the right': [ops.matmul, [sample([2, 3, 4], 1), sample([4], 2)]],
  'matmul of itself': [(a) => a.matmul(a.transpose(0, 1)).matmul(a), [sample([3, 4], 1)]],
  linear: [(x, w, b) => ops.linear(x, w, b).tanh(), [sample([2, 3, 4], 1), sample([5, 4], 2), sample([5], 3)]],
  'linear with a residual': [
    (x, w, r) => ops.linear(x, w, undefined, { residual: r }).exp(),
    [sample([3, 4], 1), sample([5, 4], 2), sample([5], 3)],
  ],
  attention: [
    (q, k, v) => ops.scaledDotProductAttention(q, k, v),
    [sample([2, 3, 4, 5], 1), sample([2, 3, 6, 5], 2), sample([2, 3, 6, 5], 3)],
  ],
  'attention, causal, with shared keys': [
    (q, k, v) => ops.scaledDotProductAttention(q, k, v, { causal: true, scale: 0.4 }),
    [sample([1, 4, 3, 5], 1), sample([1, 2, 5, 5], 2), sample([1, 2, 5, 5], 3)],
  ],
  'attention with a mask that hides a whole row': [
    (q, k, v) => ops.scaledDotProductAttention(q, k, v, { mask: tensor(Int32Array.of(1, 0, 1, 0, 0, 0), { shape: [2, 3] }) }),
    [sample([1, 2, 2, 5], 1), sample([1, 2, 3, 5], 2), sample([1, 2, 3, 5], 3)],
  ],
  'packedAttention with a float mask': [
    (x) =>
      ops.packedAttention(x, 2, { mask: tensor([0, -0.5, Number.NEGATIVE_INFINITY, 0.3, 0, 1, 0, 0, 0], { shape: [3, 3] }) }),
    [sample([2, 3, 24], 1)],
  ],
  softmax: [(x) => x.softmax(0), [sample([4, 3], 1)]],
  logSoftmax: [(x) => x.logSoftmax(-1), [sample([4, 5], 1)]],
  layerNorm: [(x, w, b) => ops.layerNorm(x, w, b, 0.1), [sample([3, 5], 1), sample([5], 2), sample([5], 3)]],
  rmsNorm: [(x, w) => ops.rmsNorm(x, w, 0.1), [sample([3, 5], 1), sample([5], 2)]],
}

for (const [name, [op, inputs]] of Object.entries(SMOOTH)) {
  test(`second derivatives of ${name}`, async () => checkSecondDerivatives(name, op, inputs))
}

test('dropout is differentiated twice with one mask', async () => {
  device.random.seed = 3
  const x = leafOf(normals(64, 1))
  const y = x.dropout(0.5)
  const mask = (await y.div(x).data()) as Float32Array
  const first = grad(y.mul(y), x, { cotangent: ops.ones([64]), createGraph: true })
  const second = grad(first, x, { cotangent: ops.ones([64]) })
  assertClose(
    await second.data(),
    Array.from(mask, (m) => 2 * m * m),
    1e-6,
    'second derivative',
  )
})

test('a third derivative', async () => {
  const x = leafOf([0.5, -1.25])
  const third = [0, 1].reduce((y) => grad(y.sum(), x, { createGraph: true }), x.mul(x).mul(x).mul(x))
  assertClose(await grad(third.sum(), x).data(), [12, -30], 1e-6, 'of x^4')
})

test('the first gradients are those of backward, and leave grad alone', async () => {
  const [x, w] = [leafOf(normals(12, 1), [3, 4]), leafOf(normals(8, 2), [2, 4])]
  const loss = () => ops.linear(x, w, undefined, { gelu: true }).mean()
  const [dx, dw] = grad(loss(), [x, w])
  if (x.grad || w.grad) throw new Error('grad was set')
  loss().backward()
  assertClose(await dx!.data(), await x.grad!.data(), 0, 'x')
  assertClose(await dw!.data(), await w.grad!.data(), 0, 'w')
})

test('a result of an op is an input, and an input that depends on another one gets its own part', async () => {
  const x = leafOf([1, 2, 3])
  const y = x.mul(x)
  const z = y.mul(x).sum()
  const [dy, dx] = grad(z, [y, x])
  assertClose(await dy!.data(), [1, 2, 3], 0, 'dz/dy')
  assertClose(await dx!.data(), [3, 12, 27], 0, 'dz/dx')
})

test('a function of tensors without gradients, two inputs, and one that it does not use', async () => {
  const [a, b, c] = [tensor([1, 2]), tensor([3, 4]), tensor([5])]
  const [da, db, dc] = grad((a, b) => a!.mul(b!).mul(b!).sum(), [a, b, c])
  assertClose(await da!.data(), [9, 16], 0, 'a')
  assertClose(await db!.data(), [6, 16], 0, 'b')
  assertClose(await dc!.data(), [0], 0, 'c')
  const second = grad((x) => grad((y) => y.exp().sum(), x, { createGraph: true }).sum(), leafOf([0.5]))
  assertClose(await second.data(), [Math.exp(0.5)], 1e-6, 'second')
})

test('gradients flow to a cotangent', async () => {
  const [x, c] = [leafOf([1, 2]), leafOf([3, 4])]
  const g = grad(x.mul(x), x, { cotangent: c, createGraph: true })
  assertClose(await grad(g.sum(), c).data(), [2, 4], 0, 'c')
})

test('a gradient penalty trains in a captured step with the same bits', async () => {
  const weight = leafOf(normals(20, 1), [5, 4])
  const penalty = (x: Tensor) => {
    const g = grad((x) => ops.linear(x, weight).tanh().sum(), x, { createGraph: true })
    return g.mul(g).sum(1).sub(1).mul(0.5).sum()
  }
  const x = tensor(normals(12, 2), { shape: [3, 4] })
  penalty(x).backward()
  const eager = await weight.grad!.data()
  weight.grad = undefined
  const step = ops.capture((x: Tensor) => grad(penalty(x), weight))
  for (let i = 0; i < 3; i++) assertClose(await step(x).data(), eager, 0, `replay ${i}`)
})

test('memory is freed with the tensors', async () => {
  const x = leafOf(normals(64, 1))
  const once = () =>
    ops.scope(() => {
      const g = grad(x.exp().sum(), x, { createGraph: true })
      grad(g.mul(g).sum(), x)
    })
  once()
  await device.synchronize()
  const before = device.memory.liveBytes
  for (let i = 0; i < 5; i++) once()
  await device.synchronize()
  if (device.memory.liveBytes > before) throw new Error(`${device.memory.liveBytes} bytes, ${before} before`)
})

test('what cannot be is refused in one line', () => {
  const x = leafOf([1, 2])
  const once = defineOp<[Tensor]>({ name: 'once', forward: (_, [x]) => x.exp(), backward: (_, g) => [g] })
  const refused: [string, () => unknown, RegExp][] = [
    ['no second derivative', () => grad(once([x], undefined).sum(), x, { createGraph: true }), /^grad: once has no second/],
    ['recompute', () => grad(ops.recompute((x: Tensor) => x.exp(), x).sum(), x, { createGraph: true }), /recompute/],
    ['no scalar', () => grad(x.exp(), x), /^grad: shape \[2\] has more than one/],
    ['no leaf', () => grad(tensor([1]).exp(), x), /^grad: no input of this tensor/],
    ['an input off the tape', () => grad(x.sum(), tensor([1])), /^grad: .*input 0/],
    ['int32', () => grad(x.sum(), tensor(Int32Array.of(1))), /float32 or float16/],
    ['no inputs', () => grad(x.sum(), []), /at least one/],
    ['an unknown option', () => grad(x.sum(), x, { creategraph: true } as never), /did you mean "createGraph"/],
  ]
  for (const [what, call, message] of refused) {
    const said = messageOf(call)
    if (!message.test(said)) throw new Error(`${what}: ${said}`)
  }
})

run()
