// Elementwise functions and comparisons beside those of elementwise.test.ts, compared with PyTorch's float64 values.
import * as ops from '../../engine/index.ts'
import { capture, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { activationFunctions } from '../../kernels/activation/reference.ts'
import { exponentialFunctions } from '../../kernels/exponential/reference.ts'
import { assertShapeError, checkOp, leaf, stridedLeaf } from '../harness/checkOp.ts'
import { equalValues as equals } from '../harness/equalValues.ts'
import { assertClose, messageOf } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('functions')
const { test, run } = suite('elementwise functions')
const { NaN: NAN, POSITIVE_INFINITY: INF } = Number

/** By case of the golden values, the op and its inputs in order. */
const CASES: Record<string, [op: (...inputs: Tensor[]) => Tensor, ...inputs: string[]]> = {
  ...Object.fromEntries(
    (['abs', 'sign', 'floor', 'ceil', 'round', 'trunc', 'square', 'reciprocal', 'rsqrt', 'sin', 'cos', 'exp2'] as const).map(
      (name) => [`${name}.plain`, [(x: Tensor) => x[name](), 'x']],
    ),
  ),
  ...Object.fromEntries(
    (['log2', 'log1p', 'expm1', 'erf', 'silu', 'softplus'] as const).map((name) => [
      `${name}.plain`,
      [(x: Tensor) => x[name](), 'x'],
    ]),
  ),
  'log1p.small': [(x) => x.log1p(), 'x'],
  'expm1.small': [(x) => x.expm1(), 'x'],
  'leakyRelu.plain': [(x) => x.leakyRelu(0.2), 'x'],
  'gelu.tanh': [(x) => x.gelu({ approximate: 'tanh' }), 'x'],
  'clamp.both': [(x) => x.clamp(-2.25, 3.5), 'x'],
  'clamp.min': [(x) => x.clamp(0.5), 'x'],
  'clamp.max': [(x) => x.clamp(undefined, 0.5), 'x'],
  'minimum.ties': [ops.minimum, 'a', 'b'],
  'maximum.ties': [ops.maximum, 'a', 'b'],
  'atan2.broadcast': [ops.atan2, 'a', 'b'],
  'remainder.broadcast': [ops.remainder, 'a', 'b'],
  'lerp.broadcast': [ops.lerp, 'x', 'u', 'weight'],
}

const stored = (name: string) => golden.get(name)!

for (const [name, [op, ...inputs]] of Object.entries(CASES)) {
  test(`${name} as PyTorch`, async () => {
    const { shape, data } = stored(`${name}.output`)
    const cotangent = stored(`${name}.cotangent`).data
    const gradients = inputs.map((input) => stored(`${name}.grad.${input}`).data)
    for (const make of [leaf, stridedLeaf]) {
      const leaves = inputs.map((input) => make(stored(`${name}.${input}`).data, stored(`${name}.${input}`).shape))
      await checkOp(name, op, leaves, { shape, output: data, cotangent, gradients })
    }
  })
}

test('every golden case is compared', () => {
  const found = new Set([...golden.keys()].map((key) => key.split('.').slice(0, 2).join('.')))
  for (const name of found) if (!CASES[name]) throw new Error(`${name} is not compared`)
})

test('one operand of two wants the gradient; numbers on either side', async () => {
  const [a, b] = [
    [-3, 0.5, 2, 4],
    [1, 0.5, -2, 3],
  ]
  const c = [1, 2, 3, 4]
  const cases: [(x: Tensor) => Tensor, number[], number[]][] = [
    [(x) => x.maximum(tensor(b)), [1, 0.5, 2, 4], [0, 1, 3, 4]],
    [(x) => ops.maximum(tensor(b), x), [1, 0.5, 2, 4], [0, 1, 3, 4]],
    [(x) => x.minimum(0.5), [-3, 0.5, 0.5, 0.5], [1, 1, 0, 0]],
    [(x) => ops.maximum(0.5, x), [0.5, 0.5, 2, 4], [0, 1, 3, 4]],
    [(x) => x.remainder(1.5), [0, 0.5, 0.5, 1], c],
    [(x) => ops.remainder(5, x), [-1, 0, 1, 1], [2, -20, -6, -4]],
    [
      (x) => ops.atan2(1, x),
      [3, -0.5, -2, -4].map((x) => Math.atan2(1, -x)),
      [-3, 0.5, 2, 4].map((x, i) => -c[i]! / (1 + x * x)),
    ],
    [(x) => x.lerp(2, 0.25), [-1.75, 0.875, 2, 3.5], c.map((g) => 0.75 * g)],
  ]
  for (const [op, output, gradient] of cases)
    await checkOp(`${op}`, op, [leaf(a, [4])], { shape: [4], output, cotangent: c, gradients: [gradient] })
})

test('int32 functions', async () => {
  const a = tensor([7, -7, -(2 ** 31), 0, 5, 2147483647], { dtype: 'int32' })
  const b = tensor([3, 3, -1, 5, 0, -10], { dtype: 'int32' })
  await equals('abs', a.abs(), 'int32', [7, 7, -(2 ** 31), 0, 5, 2147483647])
  await equals('sign', a.sign(), 'int32', [1, -1, -1, 0, 1, 1])
  await equals('square', a.square(), 'int32', [49, 49, 0, 0, 25, 1])
  await equals('round', a.round(), 'int32', [7, -7, -(2 ** 31), 0, 5, 2147483647])
  await equals('clamp', a.clamp(-7, 6), 'int32', [6, -7, -7, 0, 5, 6])
  await equals('clamp without limits', a.clamp(), 'int32', [7, -7, -(2 ** 31), 0, 5, 2147483647])
  await equals('minimum', a.minimum(b), 'int32', [3, -7, -(2 ** 31), 0, 0, -10])
  await equals('maximum with a number', a.maximum(4), 'int32', [7, 4, 4, 4, 5, 2147483647])
  await equals('remainder', a.remainder(b), 'int32', [1, 2, 0, 0, 0, -3])
  await equals('a float function', tensor([0, 1], { dtype: 'int32' }).expm1(), 'float32', [0, Math.E - 1])
  await equals('atan2', tensor([1], { dtype: 'int32' }).atan2(1), 'float32', [Math.PI / 4])
  await equals('lerp', tensor([1], { dtype: 'int32' }).lerp(3, 0.25), 'float32', [1.5])
  await equals('int32 meets float32', a.maximum(tensor([7.5])), 'float32', [7.5, 7.5, 7.5, 7.5, 7.5, 2147483647])
  await equals('of swapped dtypes', tensor([7.5]).remainder(b), 'float32', [1.5, 1.5, -0.5, 2.5, NAN, -2.5])
})

/** Results for NaN, infinities and zeros; those of PyTorch, but for sign(NaN), which is NumPy's. */
const S = [NAN, INF, -INF, 0, -0]
const SPECIAL: Record<string, [(x: Tensor) => Tensor, number[]]> = {
  abs: [(x) => x.abs(), [NAN, INF, INF, 0, 0]],
  sign: [(x) => x.sign(), [NAN, 1, -1, 0, 0]],
  floor: [(x) => x.floor(), [NAN, INF, -INF, 0, -0]],
  ceil: [(x) => x.ceil(), [NAN, INF, -INF, 0, -0]],
  round: [(x) => x.round(), [NAN, INF, -INF, 0, -0]],
  trunc: [(x) => x.trunc(), [NAN, INF, -INF, 0, -0]],
  square: [(x) => x.square(), [NAN, INF, INF, 0, 0]],
  reciprocal: [(x) => x.reciprocal(), [NAN, 0, -0, INF, -INF]],
  rsqrt: [(x) => x.rsqrt(), [NAN, 0, NAN, INF, -INF]],
  sin: [(x) => x.sin(), [NAN, NAN, NAN, 0, -0]],
  cos: [(x) => x.cos(), [NAN, NAN, NAN, 1, 1]],
  exp2: [(x) => x.exp2(), [NAN, INF, 0, 1, 1]],
  log2: [(x) => x.log2(), [NAN, INF, NAN, -INF, -INF]],
  log1p: [(x) => x.log1p(), [NAN, INF, NAN, 0, -0]],
  'log1p at -1': [(x) => x.mul(0).add(-1).log1p(), [NAN, NAN, NAN, -INF, -INF]],
  expm1: [(x) => x.expm1(), [NAN, INF, -1, 0, -0]],
  erf: [(x) => x.erf(), [NAN, 1, -1, 0, -0]],
  silu: [(x) => x.silu(), [NAN, INF, NAN, 0, -0]],
  softplus: [(x) => x.softplus(), [NAN, INF, 0, Math.LN2, Math.LN2]],
  leakyRelu: [(x) => x.leakyRelu(0.5), [NAN, INF, -INF, 0, -0]],
  'gelu with tanh': [(x) => x.gelu({ approximate: 'tanh' }), [NAN, INF, NAN, 0, -0]],
  clamp: [(x) => x.clamp(-1, 2), [NAN, 2, -1, 0, -0]],
  'clamp to NaN': [(x) => x.clamp(NAN, 2), [NAN, NAN, NAN, NAN, NAN]],
  'clamp from above to below': [(x) => x.clamp(2, 1), [NAN, 1, 1, 1, 1]],
  minimum: [(x) => x.minimum(1), [NAN, 1, -INF, 0, -0]],
  'maximum with NaN': [(x) => x.maximum(NAN), [NAN, NAN, NAN, NAN, NAN]],
  remainder: [(x) => x.remainder(3), [NAN, NAN, NAN, 0, -0]],
  'atan2 over 1': [(x) => x.atan2(1), [NAN, Math.PI / 2, -Math.PI / 2, 0, -0]],
}

test('special values', async () => {
  for (const [name, [op, expected]] of Object.entries(SPECIAL)) {
    await equals(name, op(tensor(S)), 'float32', expected)
  }
  const endless = tensor([INF, INF, INF, INF, -INF])
  await equals('remainder', ops.remainder(tensor([1, -1, 0, NAN, 5]), endless), 'float32', [1, INF, 0, NAN, -INF])
  const angles = ops.atan2(tensor([0, -0, 0, -0, INF]), tensor([0, 0, -0, -0, -INF]))
  await equals('atan2', angles, 'float32', [0, -0, Math.PI, -Math.PI, (3 * Math.PI) / 4])
})

test('gradients at special values', async () => {
  const cases: [string, (x: Tensor) => Tensor, number[], number[]][] = [
    ['abs', (x) => x.abs(), [NAN, 0, -0, -INF], [NAN, 0, 0, -4]],
    ['clamp', (x) => x.clamp(-1, 1), [NAN, -1, 1, INF], [0, 2, 3, 0]],
    ['leakyRelu', (x) => x.leakyRelu(0.5), [NAN, 0, INF, -INF], [0.5, 1, 3, 2]],
    ['softplus', (x) => x.softplus(), [NAN, INF, -INF, 0], [NAN, 2, 0, 2]],
    ['floor', (x) => x.floor(), [NAN, INF, 0.5, 1], [0, 0, 0, 0]],
    ['minimum with NaN', (x) => x.minimum(tensor([1, NAN, 1, 1])), [NAN, 1, INF, 1], [1, 2, 0, 2]],
    ['gelu with tanh', (x) => x.gelu({ approximate: 'tanh' }), [1e30, -1e30, 100, -100], [1, 0, 3, 0]],
    ['silu', (x) => x.silu(), [1e30, -1e30, 200, NAN], [1, 0, 3, NAN]],
  ]
  for (const [name, op, at, expected] of cases) {
    const input = leaf(at, [4])
    op(input).backward(tensor([1, 2, 3, 4]))
    await equals(name, input.grad!, 'float32', expected)
  }
})

test('round takes ties to even, and large angles keep their sine', async () => {
  await equals('round', tensor([0.5, 1.5, 2.5, -0.5, -1.5, 8388609]).round(), 'float32', [0, 2, 2, -0, -2, 8388609])
  const angles = [100000, 123456.789, 1e7, 3e9, 1e20, 3e38].map(Math.fround)
  assertClose(await tensor(angles).sin().data(), angles.map(Math.sin), 1e-6, 'sin')
  assertClose(await tensor(angles).cos().data(), angles.map(Math.cos), 1e-6, 'cos')
  await equals('remainder of large numbers', tensor([1e30, -1e30]).remainder(7), 'float32', [
    Math.fround(1e30) % 7,
    7 - (Math.fround(1e30) % 7),
  ])
})

/** By function, the float64 one, numbers to try, and the largest relative error of each result alone. */
const ACCURACY: Record<
  string,
  [op: (x: Tensor) => Tensor, f: (x: number) => number, at: (u: number, k: number) => number, limit: number]
> = {
  erf: [(x) => x.erf(), f64('exponential', 'erf'), (u, k) => (k % 2 ? 1 : -1) * 10 ** (12 * u - 11), 6e-7],
  expm1: [(x) => x.expm1(), Math.expm1, (u, k) => (k % 2 ? 1 : -1) * 10 ** (11.5 * u - 10), 2e-6],
  log1p: [(x) => x.log1p(), Math.log1p, (u, k) => (k % 2 ? 10 ** (30 * u - 10) : u - 1), 6e-7],
  log2: [(x) => x.log2(), Math.log2, (u, k) => (k % 2 ? 10 ** (60 * u - 30) : 0.5 + u), 6e-7],
  exp2: [(x) => x.exp2(), (x) => 2 ** x, (u) => 252 * u - 126, 4e-7],
  softplus: [(x) => x.softplus(), f64('activation', 'softplus'), (u) => 120 * u - 60, 8e-6],
  silu: [(x) => x.silu(), f64('activation', 'silu'), (u) => 120 * u - 60, 8e-6],
  atan2: [(x) => x.atan2(1), Math.atan, (u, k) => (k % 2 ? 1 : -1) * 10 ** (20 * u - 10), 4e-7],
  rsqrt: [(x) => x.rsqrt(), (x) => 1 / Math.sqrt(x), (u) => 10 ** (60 * u - 30), 4e-7],
  // Zeros of the sine and the cosine make relative errors of the results near them large.
  sin: [(x) => x.sin().add(2), (x) => Math.sin(x) + 2, (u, k) => (k % 2 ? 1e5 : 8) * (2 * u - 1), 4e-7],
  cos: [(x) => x.cos().add(2), (x) => Math.cos(x) + 2, (u, k) => (k % 2 ? 1e5 : 8) * (2 * u - 1), 4e-7],
}

function f64(family: 'exponential' | 'activation', op: 'erf' | 'softplus' | 'silu'): (x: number) => number {
  const { f } = family === 'exponential' ? exponentialFunctions[op as 'erf'] : activationFunctions[op as 'silu']
  return (x) => f(x, { op: op as 'silu', count: 1, slope: 0 })
}

for (const [name, [op, f, at, limit]] of Object.entries(ACCURACY)) {
  test(`${name}: every result is right to ${limit}`, async () => {
    const inputs = Float32Array.from({ length: 8000 }, (_, k) => at((k + 0.5) / 8000, k))
    const results = await op(tensor(inputs)).data()
    let worst = [0, 0]
    for (const [k, x] of inputs.entries()) {
      const error = Math.abs(results[k]! / f(x) - 1)
      if (!(error <= worst[0]!)) worst = [error, x]
    }
    if (!(worst[0]! <= limit)) throw new Error(`at ${worst[1]} the error is ${worst[0]}`)
  })
}

test('a captured step gives the bits of an eager one', async () => {
  const body = (a: Tensor) => {
    const u = a.sin().maximum(a.mul(0.5)).clamp(-0.4, 0.9)
    return ops.where(a.gt(0), u.silu().add(a.erf()), u.leakyRelu(0.3)).lerp(a, 0.25).remainder(0.7)
  }
  const inputs = [0.3, -1.2, 5, -0.1]
  const eager = await body(tensor(inputs)).data()
  const step = capture(body)
  for (let i = 0; i < 2; i++) if (`${await step(tensor(inputs)).data()}` !== `${eager}`) throw new Error(`replay ${i}`)
  step.dispose()
})

test('refusals name the op', () => {
  const [floats, ints] = [tensor([1, 2]), tensor([1, 2], { dtype: 'int32' })]
  const { eq, lt, minimum, remainder, atan2 } = ops
  for (const [name, op] of Object.entries({ eq, lt, minimum, remainder, atan2 })) {
    assertShapeError(() => op(1, 2), `${name}: got two numbers`)
    assertShapeError(() => op(floats, tensor([1, 2, 3])), `${name}: shapes [2] and [3]`)
    if (name !== 'atan2') assertShapeError(() => op(ints, 0.5), `${name}: got 0.5`)
  }
  assertShapeError(() => ints.clamp(0.5), 'clamp: got 0.5')
  const messages: [() => unknown, RegExp][] = [
    [() => floats.gelu({ approximate: 'erf' as 'tanh' }), /^gelu: got "erf" as approximate, takes 'none' or 'tanh'$/],
    [() => floats.clamp('1' as never), /^clamp: got "1" as min, takes a number$/],
    [() => floats.leakyRelu({} as never), /^leakyRelu: got .* as slope, takes a number$/],
    [() => floats.lerp(1, [1] as never), /^lerp: got \[1\] as weight, takes a tensor or a number$/],
    [() => (ops.isNaN as (...all: unknown[]) => unknown)(floats, 1), /^isNaN: got 1 behind its arguments/],
  ]
  for (const [call, message] of messages)
    if (!message.test(messageOf(call))) throw new Error(`${messageOf(call)} is not ${message}`)
})

test('the sign of zeros is 0, whose reciprocal is infinite', async () => {
  await equals('sign', tensor([0, -0, 5, -5, NAN]).sign(), 'float32', [0, 0, 1, -1, NAN])
  await equals('reciprocal', tensor([0, -0]).sign().reciprocal(), 'float32', [INF, INF])
})

test('ends', () => device.destroy())
run()
