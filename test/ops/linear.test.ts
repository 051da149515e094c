import { holdArenas } from '../../engine/autograd/arena.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { noGrad } from '../../engine/autograd/tape.ts'
import { capture } from '../../engine/capture.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { dropout } from '../../engine/ops/dropout.ts'
import { add } from '../../engine/ops/elementwise.ts'
import { type LinearOptions, linear } from '../../engine/ops/linear.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { unaryFunctions } from '../../kernels/elementwise/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { ndarray, summedTo } from '../harness/ndarray.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('linear op')
const { f: gelu, derivative: geluGrad } = unaryFunctions.gelu

interface Values {
  /** Shape of x, [..., in]. */
  shape: Shape
  outputs: number
  x: Float32Array
  weight: Float32Array
  bias: Float32Array
  residual: { shape: Shape; data: Float32Array } | undefined
  gelu: boolean
}

function values(shape: Shape, outputs: number, { gelu = false, residual }: { gelu?: boolean; residual?: Shape } = {}): Values {
  return {
    shape,
    outputs,
    x: normals(sizeOf(shape), 1),
    weight: normals(outputs * shape.at(-1)!, 2).map((value) => value / Math.sqrt(shape.at(-1)!)),
    bias: normals(outputs, 3),
    residual: residual && { shape: residual, data: normals(sizeOf(residual), 4) },
    gelu,
  }
}

/** The expected output, and the gradients of x, weight, bias and residual, in float64. */
function expected({ shape, outputs, x, weight, bias, residual, ...operands }: Values): ExpectedOp {
  const inputs = shape.at(-1)!
  const rows = x.length / inputs
  const outShape = [...shape.slice(0, -1), outputs]
  const output = new Float64Array(rows * outputs)
  const cotangent = normals(output.length, 5)
  const dx = new Float64Array(x.length)
  const dweight = new Float64Array(weight.length)
  const dbias = new Float64Array(outputs)
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let pre = bias[o]!
      for (let i = 0; i < inputs; i++) pre += x[r * inputs + i]! * weight[o * inputs + i]!
      output[r * outputs + o] = operands.gelu ? gelu(pre) : pre
      const g = cotangent[r * outputs + o]! * (operands.gelu ? geluGrad(pre) : 1)
      dbias[o]! += g
      for (let i = 0; i < inputs; i++) {
        dx[r * inputs + i]! += g * weight[o * inputs + i]!
        dweight[o * inputs + i]! += g * x[r * inputs + i]!
      }
    }
  }
  const gradients = [dx, dweight, dbias]
  if (residual) {
    gradients.push(Float64Array.from(summedTo(ndarray(cotangent, outShape), residual.shape).data))
    for (let at = 0; at < output.length; at++) output[at]! += residualAt(residual, outShape, at)
  }
  return { shape: outShape, output, cotangent, gradients }
}

function residualAt({ shape, data }: NonNullable<Values['residual']>, outShape: Shape, at: number): number {
  let place = 0
  let stride = 1
  for (let d = outShape.length - 1, own = shape.length - 1; own >= 0; d--, own--) {
    if (shape[own] !== 1) place += (at % outShape[d]!) * stride
    stride *= shape[own]!
    at = Math.floor(at / outShape[d]!)
  }
  return data[place]!
}

/** Checks `linear` with leaves that `make` makes. */
async function check(operands: Values, make: (data: Float32Array, shape: Shape) => Tensor = leaf): Promise<void> {
  const { shape, outputs, x, weight, bias, residual, gelu } = operands
  const inputs = [make(x, shape), make(weight, [outputs, shape.at(-1)!]), make(bias, [outputs])]
  if (residual) inputs.push(make(residual.data, residual.shape))
  const op = (x: Tensor, weight: Tensor, bias: Tensor, residual?: Tensor) =>
    linear(x, weight, bias, { gelu, ...(residual && { residual }) })
  await checkOp('linear', op as (...inputs: Tensor[]) => Tensor, inputs, expected(operands))
}

const SHAPES: readonly [shape: Shape, outputs: number][] = [
  ...[1, 7, 31, 33, 129, 257].map((n): [Shape, number] => [[n, n], n]),
  [[1025], 5],
  [[1025, 5], 3],
  [[5, 3], 1025],
  [[4, 17, 64], 192],
  [[2, 3, 5, 37], 35],
]

for (const [shape, outputs] of SHAPES) {
  test(`[${shape}] -> ${outputs}`, () => check(values(shape, outputs)))
  test(`[${shape}] -> ${outputs}, strided`, () => check(values(shape, outputs), stridedLeaf))
  test(`[${shape}] -> ${outputs}, GELU`, () => check(values(shape, outputs, { gelu: true })))
  const residual = [...shape.slice(0, -1), outputs]
  test(`[${shape}] -> ${outputs}, GELU and residual`, () =>
    check(values(shape, outputs, { gelu: true, residual }), stridedLeaf))
}

for (const residual of [[3, 6, 20], [6, 20], [20], [6, 1], [3, 1, 20], [1], []]) {
  test(`a residual [${residual}]`, () => check(values([3, 6, 9], 20, { residual })))
}

test('GELU far into both tails', async () => {
  const x = Float32Array.from({ length: 61 }, (_, i) => (i - 30) / 2)
  const output = await linear(tensor(x, { shape: [61, 1] }), tensor([[1]]), undefined, { gelu: true }).data()
  assertClose(output, Float64Array.from(x, gelu), 1e-6, 'all')
  const tail = [...x.keys()].filter((i) => x[i]! <= -2 && x[i]! >= -10)
  assertClose(
    tail.map((i) => output[i]! / gelu(x[i]!)),
    tail.map(() => 1),
    1e-5,
    'left tail, each value by itself',
  )
})

test('without a bias', async () => {
  const operands = values([5, 33], 7)
  operands.bias.fill(0)
  const { gradients, ...rest } = expected(operands)
  const inputs = [leaf(operands.x, [5, 33]), leaf(operands.weight, [7, 33])]
  await checkOp('linear', (x, weight) => linear(x, weight), inputs, { ...rest, gradients: gradients.slice(0, 2) })
})

for (const options of [{}, { gelu: true }] satisfies LinearOptions[]) {
  for (const range of [
    [0, 1],
    [2, 3],
    [1, 5],
  ] satisfies Shape[]) {
    test(`tokens ${range} of each sequence${options.gelu ? ', GELU' : ''}`, async () => {
      // Only some tokens of x [B, T, D] are used; the others get a gradient of 0.
      const [B, T, D, outputs] = [9, 5, 37, 20]
      const tokens = range[1]! - range[0]!
      const all = normals(B * T * D, 1)
      const operands = values([B, tokens, D], outputs, options)
      const within = (b: number) => (b * T + range[0]!) * D
      for (let b = 0; b < B; b++) operands.x.set(all.subarray(within(b), within(b) + tokens * D), b * tokens * D)
      const { gradients, ...rest } = expected(operands)
      const dx = new Float64Array(all.length)
      for (let b = 0; b < B; b++) {
        dx.set((gradients[0] as Float64Array).subarray(b * tokens * D, (b + 1) * tokens * D), within(b))
      }
      const op = (x: Tensor, weight: Tensor, bias: Tensor) =>
        linear(slice(x, [[], range as [number, number]]), weight, bias, options)
      const inputs = [leaf(all, [B, T, D]), leaf(operands.weight, [outputs, D]), leaf(operands.bias, [outputs])]
      await checkOp('linear', op as (...inputs: Tensor[]) => Tensor, inputs, {
        ...rest,
        gradients: [dx, ...gradients.slice(1)],
      })
    })
  }
}

test('rows of a weight', async () => {
  const operands = values([6, 9], 4)
  const { gradients, ...rest } = expected(operands)
  const rows = new Float32Array(10 * 9)
  rows.set(operands.weight, 3 * 9)
  const dweight = new Float64Array(rows.length)
  dweight.set(gradients[1] as Float64Array, 3 * 9)
  const op = (x: Tensor, weight: Tensor, bias: Tensor) => linear(x, slice(weight, [[3, 7]]), bias)
  const inputs = [leaf(operands.x, [6, 9]), leaf(rows, [10, 9]), leaf(operands.bias, [4])]
  const all = [gradients[0]!, dweight, gradients[2]!]
  await checkOp('linear', op as (...inputs: Tensor[]) => Tensor, inputs, { ...rest, gradients: all })
})

test('only the gradients that are wanted', async () => {
  const operands = values([7, 33], 12, { gelu: true, residual: [7, 12] })
  const { gradients, ...rest } = expected(operands)
  for (let wanted = 0; wanted < 4; wanted++) {
    const inputs = [
      leaf(operands.x, [7, 33]),
      leaf(operands.weight, [12, 33]),
      leaf(operands.bias, [12]),
      leaf(operands.residual!.data, [7, 12]),
    ]
    inputs.forEach((input, i) => {
      input.requiresGrad = i === wanted
    })
    const kept = gradients.map((gradient, i) => (i === wanted ? gradient : undefined))
    const op = (x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) => linear(x, weight, bias, { gelu: true, residual })
    await checkOp('linear', op as (...inputs: Tensor[]) => Tensor, inputs, { ...rest, gradients: kept })
  }
})

for (const [shape, outputs] of [
  [[7, 33], 12],
  [[2, 5, 20], 31],
  [[3, 2100], 5],
] satisfies [Shape, number][]) {
  test(`[${shape}] -> ${outputs}, dropout: what the op dropout would drop, in every replay too`, async () => {
    const residual = [...shape.slice(0, -1), outputs]
    const operands = values(shape, outputs, { residual })
    const fused = (x: Tensor, w: Tensor, b: Tensor, r: Tensor) => linear(x, w, b, { gelu: true, dropout: 0.3, residual: r })
    const apart = (x: Tensor, w: Tensor, b: Tensor, r: Tensor) => add(dropout(linear(x, w, b, { gelu: true }), 0.3), r)
    const follow = async (op: typeof fused, captured: boolean) => {
      device.random.seed = 7
      const inputs = [leaf(operands.x, shape), leaf(operands.weight, [outputs, shape.at(-1)!]), leaf(operands.bias, [outputs])]
      const all = [...inputs, leaf(operands.residual!.data, residual)] as [Tensor, Tensor, Tensor, Tensor]
      const call = () => {
        const output = op(...all)
        backward(output, tensor(normals(output.size, 5), { shape: output.shape }))
        const gradients = all.map((t) => {
          const grad = t.grad!.detach()
          t.grad!.dispose()
          t.grad = undefined
          return grad
        })
        return [output, ...gradients]
      }
      const step = captured ? capture(call) : call
      const results: Float32Array[] = []
      for (let i = 0; i < 3; i++) for (const t of step()) results.push(Float32Array.from(await t.data()))
      if (device.random.counter !== 3) throw new Error(`the counter is ${device.random.counter}`)
      return results
    }
    const want = await follow(apart, false)
    for (const captured of [false, true]) {
      const got = await follow(fused, captured)
      got.forEach((data, i) => {
        assertClose(data, want[i]!, 1e-6, `${captured ? 'captured' : 'eager'}, call ${Math.floor(i / 5)}, result ${i % 5}`)
      })
      if (`${got[0]}` === `${got[5]}`) throw new Error('two calls dropped the same elements')
    }
  })
}

test('gradients into the slots of an arena', async () => {
  const operands = values([5, 4, 9], 7, { gelu: true })
  const { gradients, cotangent } = expected(operands)
  const inputs = [leaf(operands.x, [5, 4, 9]), leaf(operands.weight, [7, 9]), leaf(operands.bias, [7])] as const
  const arena = holdArenas('test', [inputs[1], inputs[2]])[0]!
  backward(linear(...inputs, { gelu: true }), tensor(Float32Array.from(cotangent), { shape: [5, 4, 7] }))
  for (const [slot, what] of ['weight', 'bias'].entries()) {
    assertClose(await arena.slot(arena.gradients, slot).data(), gradients[slot + 1]!, 1e-4, `slot of the ${what}`)
  }
})

test('the same off the tape', async () => {
  const operands = values([5, 9], 7, { gelu: true })
  const inputs = [leaf(operands.x, [5, 9]), leaf(operands.weight, [7, 9]), leaf(operands.bias, [7])] as const
  const out = noGrad(() => linear(...inputs, { gelu: true }))
  assertClose(await out.data(), expected(operands).output, 1e-5, 'output')
})

test('refuses what it cannot take', () => {
  const zeros = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  assertShapeError(() => linear(zeros(2, 3), zeros(3, 4)), 'linear: got float32 [2, 3] and float32 [3, 4]')
  assertShapeError(() => linear(zeros(2, 3), zeros(4, 3), zeros(3)), 'linear: got')
  assertShapeError(() => linear(zeros(2, 3), zeros(3)), 'linear: got')
  assertShapeError(() => linear(tensor(1), zeros(4, 3)), 'float32 []')
  assertShapeError(() => linear(tensor(new Int32Array(3)), zeros(4, 3)), 'int32 [3]')
  const residual = (...shape: number[]) => linear(zeros(2, 3), zeros(4, 3), undefined, { residual: zeros(...shape) })
  assertShapeError(() => residual(2, 3), 'do not broadcast')
  assertShapeError(() => linear(zeros(2, 3), zeros(4, 3), undefined, { dropout: 1.5 }), 'linear: got p = 1.5')
  assertShapeError(() => residual(5, 2, 4), 'residual [5, 2, 4]')
})

test('ends', () => device.destroy())
run()
