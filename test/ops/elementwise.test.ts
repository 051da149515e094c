import { holdArenas } from '../../engine/autograd/arena.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { cast } from '../../engine/autograd/cast.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { gelu } from '../../engine/ops/activation.ts'
import { add, div, exp, log, mul, neg, relu, sigmoid, sqrt, sub, tanh } from '../../engine/ops/elementwise.ts'
import type { Operand } from '../../engine/ops/operands.ts'
import { pow } from '../../engine/ops/pow.ts'
import { permute } from '../../engine/ops/shape.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { unaryFunctions } from '../../kernels/elementwise/reference.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { ndarray, summedTo, zip } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('elementwise ops')
const SHAPES: Shape[] = [[], [1], [7], [31, 33], [3, 5, 7], [2, 129, 8], [1025], [1, 1, 257]]

// Functions of one operand

const functions = { neg, exp, log, sqrt, tanh, relu, gelu: (x: Tensor) => gelu(x), sigmoid }
for (const [name, op] of Object.entries(functions)) {
  const { f, derivative } = unaryFunctions[name as keyof typeof functions]
  for (const shape of SHAPES) {
    for (const [kind, make] of Object.entries({ contiguous: leaf, strided: stridedLeaf })) {
      test(`${name} of ${kind} [${shape}]`, async () => {
        const positive = name === 'log' || name === 'sqrt'
        const x = normals(sizeOf(shape), 1).map((value) => (positive ? Math.abs(value) + 0.1 : value))
        const cotangent = normals(x.length, 2)
        const gradient = Array.from(x, (value, i) => cotangent[i]! * derivative(value))
        await checkOp(name, op, [make(x, shape)], { shape, output: Array.from(x, f), cotangent, gradients: [gradient] })
      })
    }
  }
}

test('tanh, sigmoid and gelu of large numbers', async () => {
  const x = tensor([-1e30, -1e4, -100, 100, 1e4, 1e30])
  assertClose(await tanh(x).data(), [-1, -1, -1, 1, 1, 1], 1e-6, 'tanh')
  assertClose(await sigmoid(x).data(), [0, 0, 0, 1, 1, 1], 1e-6, 'sigmoid')
  assertClose(await gelu(x).data(), [0, 0, 0, 100, 1e4, Math.fround(1e30)], 1e-6, 'gelu')
})

test('their gradients at large numbers', async () => {
  const values = [-1e30, -1e4, -100, 100, 1e4, 1e30]
  for (const [op, slopes] of [
    [tanh, [0, 0, 0, 0, 0, 0]],
    [sigmoid, [0, 0, 0, 0, 0, 0]],
    [gelu, [0, 0, 0, 1, 1, 1]],
  ] as const) {
    const x = leaf(values, [6])
    backward(op(x), tensor([1, 1, 1, 1, 1, 1]))
    assertClose(await x.grad!.data(), slopes, 1e-6, 'gradient')
  }
})

// Two operands

type Rule = {
  op: (a: Operand, b: Operand) => Tensor
  f(a: number, b: number): number
  da(a: number, b: number): number
  db(a: number, b: number): number
}

const rules: Record<string, Rule> = {
  add: { op: add, f: (a, b) => a + b, da: () => 1, db: () => 1 },
  sub: { op: sub, f: (a, b) => a - b, da: () => 1, db: () => -1 },
  mul: { op: mul, f: (a, b) => a * b, da: (_, b) => b, db: (a) => a },
  div: { op: div, f: (a, b) => a / b, da: (_, b) => 1 / b, db: (a, b) => -a / b ** 2 },
  pow: { op: pow, f: (a, b) => a ** b, da: (a, b) => b * a ** (b - 1), db: (a, b) => a ** b * Math.log(a) },
}

const PAIRS: [Shape, Shape][] = [
  [[], []],
  [[1], [1]],
  [[7], []],
  [[], [31]],
  [[33], [1]],
  [
    [5, 36],
    [5, 36],
  ],
  [[5, 36], [36]],
  [[5, 37], [37]],
  [[36], [5, 36]],
  [
    [5, 1],
    [1, 129],
  ],
  [
    [4, 65, 12],
    [1, 65, 12],
  ],
  [
    [4, 1, 12],
    [1, 1, 1],
  ],
  [
    [3, 1, 5],
    [4, 1],
  ],
  [
    [2, 1, 3, 1, 2],
    [5, 1, 4, 1],
  ],
]

/** Operands away from 0, and positive bases, so that every derivative is smooth. */
function operands(a: Shape, b: Shape) {
  const [x, y] = [normals(sizeOf(a), 3), normals(sizeOf(b), 4)].map((values) => values.map((value) => Math.abs(value) + 0.3))
  return [ndarray(x!, a), ndarray(y!, b)] as const
}

for (const [name, { op, f, da, db }] of Object.entries(rules)) {
  for (const [shapeA, shapeB] of PAIRS) {
    for (const [kind, make] of Object.entries({ contiguous: leaf, strided: stridedLeaf })) {
      test(`${name} of ${kind} [${shapeA}] and [${shapeB}]`, async () => {
        const [a, b] = operands(shapeA, shapeB)
        const output = zip(a, b, f)
        const cotangent = ndarray(normals(output.data.length, 5), output.shape)
        const gradients = [
          summedTo(
            zip(cotangent, zip(a, b, da), (g, slope) => g * slope),
            shapeA,
          ).data,
          summedTo(
            zip(cotangent, zip(a, b, db), (g, slope) => g * slope),
            shapeB,
          ).data,
        ]
        const expected = { shape: output.shape, output: output.data, cotangent: cotangent.data, gradients }
        await checkOp(name, op, [make(a.data, shapeA), make(b.data, shapeB)], expected)
      })
    }
  }

  for (const number of [2, -1, 0.5]) {
    test(`${name} with the number ${number} on either side`, async () => {
      const shape = [5, 7]
      const [{ data: x }] = operands(shape, [])
      const cotangent = normals(35, 6)
      const gradient = (slope: (value: number) => number) => Array.from(x, (value, i) => cotangent[i]! * slope(value))
      for (const make of [leaf, stridedLeaf]) {
        await checkOp(name, (t) => op(t, number), [make(x, shape)], {
          shape,
          output: x.map((value) => f(value, number)),
          cotangent,
          gradients: [gradient((value) => da(value, number))],
        })
        if (name === 'pow' && number < 0) continue
        await checkOp(name, (t) => op(number, t), [make(x, shape)], {
          shape,
          output: x.map((value) => f(number, value)),
          cotangent,
          gradients: [gradient((value) => db(number, value))],
        })
      }
    })
  }

  test(`${name} of a tensor with itself`, async () => {
    const [{ data: x }] = operands([33], [])
    const cotangent = normals(33, 7)
    const gradient = Array.from(x, (value, i) => cotangent[i]! * (da(value, value) + db(value, value)))
    await checkOp(name, (t) => op(t, t), [leaf(x, [33])], {
      shape: [33],
      output: x.map((v) => f(v, v)),
      cotangent,
      gradients: [gradient],
    })
  })

  test(`${name} where one operand wants no gradient`, async () => {
    const [a, b] = operands([5, 3], [3])
    const output = zip(a, b, f)
    const cotangent = ndarray(normals(15, 8), [5, 3])
    const constant = tensor(Float32Array.from(b.data), { shape: [3] })
    await checkOp(name, (t) => op(t, constant), [leaf(a.data, [5, 3])], {
      shape: [5, 3],
      output: output.data,
      cotangent: cotangent.data,
      gradients: [zip(cotangent, zip(a, b, da), (g, slope) => g * slope).data],
    })
    const fixed = tensor(Float32Array.from(a.data), { shape: [5, 3] })
    await checkOp(name, (t) => op(fixed, t), [leaf(b.data, [3])], {
      shape: [5, 3],
      output: output.data,
      cotangent: cotangent.data,
      gradients: [
        summedTo(
          zip(cotangent, zip(a, b, db), (g, slope) => g * slope),
          [3],
        ).data,
      ],
    })
  })
}

test('pow as NumPy: negative bases, exponents of 0, bases of 0', async () => {
  const a = [-2, -2, -2, -1.5, 0, 0, 0, 3, -7, 2]
  const b = [3, 2, -1, 0, 0, 2, 0.5, 0, 1, -2]
  const y = pow(tensor(a), tensor(b))
  assertClose(
    await y.data(),
    a.map((value, i) => value ** b[i]!),
    1e-6,
    'pow',
  )
  const squared = leaf([-3, 0, 2], [3])
  backward(pow(squared, 2), tensor([1, 1, 1]))
  assertClose(await squared.grad!.data(), [-6, 0, 4], 1e-6, 'gradient of a square')
})

for (const name of ['add', 'sub', 'mul', 'div'] as const) {
  test(`${name}.broadcast as PyTorch`, async () => {
    const stored = (key: string) => golden.get(`${name}.broadcast.${key}`)!
    const [a, b] = [stored('a'), stored('b')]
    await checkOp(name, rules[name]!.op, [leaf(a.data, a.shape), leaf(b.data, b.shape)], {
      shape: stored('output').shape,
      output: stored('output').data,
      cotangent: stored('cotangent').data,
      gradients: [stored('grad.a').data, stored('grad.b').data],
    })
  })
}

test('gelu.erf as PyTorch', async () => {
  const stored = (key: string) => golden.get(`gelu.erf.${key}`)!
  const { shape, data } = stored('x')
  await checkOp('gelu', functions.gelu, [leaf(data, shape)], {
    shape,
    output: stored('output').data,
    cotangent: stored('cotangent').data,
    gradients: [stored('grad.x').data],
  })
  assertClose(await gelu(leaf(data, shape)).data(), stored('output').data, 1e-6, 'gelu')
})

test('gradients come to lie in a parameter arena, and add up there', async () => {
  const [weight, bias, scale] = [leaf(normals(15, 1), [5, 3]), leaf(normals(3, 2), [3]), leaf([0.5], [])]
  const values = await Promise.all([weight, bias, scale].map(async (t) => [...(await t.data())]))
  const arena = holdArenas('test', [weight, bias, scale])[0]!
  const cotangent = normals(15, 3)
  for (const passes of [1, 2]) {
    backward(mul(add(weight, bias), scale), tensor(cotangent, { shape: [5, 3] }))
    const [w, b] = values as [number[], number[], number[]]
    const expected = [
      Array.from(cotangent, (g) => passes * 0.5 * g),
      [0, 1, 2].map((j) => cotangent.reduce((sum, g, i) => sum + (i % 3 === j ? passes * 0.5 * g : 0), 0)),
      [cotangent.reduce((sum, g, i) => sum + passes * g * (w[i]! + b[i % 3]!), 0)],
    ]
    for (const [k, { grad }] of arena.parameters.entries()) {
      if (grad?.storage !== arena.gradients.storage) throw new Error(`gradient ${k} lies elsewhere`)
      assertClose(await grad.data(), expected[k]!, 1e-5, `gradient ${k} after ${passes} passes`)
    }
  }
})

// Integers

test('int32 arithmetic', async () => {
  const a = tensor([7, -7, 100000, 2147483647, -5, 6], { dtype: 'int32', shape: [2, 3] })
  const b = tensor([2, -3, 100001], { dtype: 'int32' })
  const check = async (what: string, t: Tensor, expected: number[]) => {
    const data = await t.data()
    if (!(data instanceof Int32Array) || `${data}` !== `${expected}`)
      throw new Error(`${what}: got ${data}, expected ${expected}`)
  }
  await check('add', add(a, b), [9, -10, 200001, -2147483647, -8, 100007])
  await check('sub', sub(a, b), [5, -4, -1, 2147483645, -2, -99995])
  await check('mul', mul(a, b), [14, 21, 1410165408, -2, 15, 600006])
  await check('div', div(a, b), [3, 2, 0, 1073741823, 1, 0])
  await check('div of a transposed view', div(permute(a, [1, 0]), 2), [3, 1073741823, -3, -2, 50000, 3])
  await check('add 3', add(a, 3), [10, -4, 100003, -2147483646, -2, 9])
  await check('sub 3', sub(a, 3), [4, -10, 99997, 2147483644, -8, 3])
  await check('3 -', sub(3, slice(a, [[0, 1]])), [-4, 10, -99997])
  await check('100 /', div(100, b), [50, -33, 0])
  await check('neg', neg(a), [-7, 7, -100000, -2147483647, 5, -6])
})

test('cast', async () => {
  const x = leaf([1.9, -1.9, 3e9, 0], [4])
  const n = cast(x, 'int32')
  if (n.requiresGrad || `${await n.data()}` !== `${[1, -1, 2147483520, 0]}`) throw new Error(`cast to int32: ${await n.data()}`)
  const back = cast(n, 'float32')
  if (`${await back.data()}` !== `${[1, -1, 2147483520, 0]}`) throw new Error(`cast to float32: ${await back.data()}`)
  const same = cast(x, 'float32')
  backward(same, tensor([1, 2, 3, 4]))
  assertClose(await x.grad!.data(), [1, 2, 3, 4], 0, 'cast to the same dtype')
})

test('dtypes meet by one rule, and functions of real numbers compute int32 in float32', async () => {
  const ints = tensor([1, 4], { dtype: 'int32' })
  const floats = leaf([0.5, 2], [2])
  const check = async (t: Tensor, expected: number[]) => {
    if (t.dtype !== 'float32') throw new Error(`got ${t.dtype}`)
    assertClose(await t.data(), expected, 1e-6, 'result')
  }
  for (const { op, f } of Object.values(rules)) {
    await check(op(ints, floats), [f(1, 0.5), f(4, 2)])
    await check(op(floats, ints), [f(0.5, 1), f(2, 4)])
  }
  await check(pow(ints, ints), [1, 256])
  await check(pow(ints, 0.5), [1, 2])
  for (const [name, op] of Object.entries(functions)) {
    if (name !== 'neg') await check(op(ints), [1, 4].map(unaryFunctions[name as keyof typeof functions].f))
  }
  backward(mul(ints, floats), tensor([1, 10]))
  assertClose(await floats.grad!.data(), [1, 40], 0, 'the gradient of the float')
})

test('refusals name the op', () => {
  const ints = tensor([1, 2], { dtype: 'int32' })
  const floats = tensor([1, 2])
  assertShapeError(() => cast(floats, 'float64' as 'int32'), 'cast: got dtype float64')
  for (const [name, { op }] of Object.entries(rules)) {
    assertShapeError(() => op(1, 2), `${name}: got two numbers`)
    assertShapeError(() => op(floats, tensor([1, 2, 3])), `${name}: shapes [2] and [3]`)
    if (name === 'pow') continue
    assertShapeError(() => op(ints, 0.5), `${name}: got 0.5`)
  }
})
test('ends', () => device.destroy())
run()
