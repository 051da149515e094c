import { holdArenas } from '../../engine/autograd/arena.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { noGrad } from '../../engine/autograd/tape.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { linear } from '../../engine/ops/linear.ts'
import { mlp } from '../../engine/ops/mlp.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { unaryFunctions } from '../../kernels/elementwise/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('mlp op')
const { f: gelu, derivative: geluGrad } = unaryFunctions.gelu

type Make = (data: Float32Array, shape: Shape) => Tensor

/** Random values and shapes of x, of the two layers' parameters, and of a residual. */
function values(shape: Shape, hidden: number, outputs: number): [data: Float32Array, shape: Shape][] {
  const inputs = shape.at(-1)!
  const scaled = (size: number, seed: number, by: number) => normals(size, seed).map((value) => value / Math.sqrt(by))
  const outShape = [...shape.slice(0, -1), outputs]
  return [
    [normals(sizeOf(shape), 1), shape],
    [scaled(hidden * inputs, 2, inputs), [hidden, inputs]],
    [normals(hidden, 3), [hidden]],
    [scaled(outputs * hidden, 4, hidden), [outputs, hidden]],
    [normals(outputs, 5), [outputs]],
    [normals(sizeOf(outShape), 6), outShape],
  ]
}

/** The expected output and gradients in float64. */
function expected(operands: ReturnType<typeof values>): ExpectedOp {
  const [[x, shape], [w1], [b1], [w2], [b2], [residual, outShape]] = operands as [
    ...[[Float32Array, Shape], [Float32Array], [Float32Array], [Float32Array], [Float32Array], [Float32Array, Shape]],
  ]
  const [inputs, hidden, outputs] = [shape.at(-1)!, b1.length, b2.length]
  const output = Float64Array.from(residual)
  const cotangent = normals(output.length, 7)
  const [dx, dw1, db1, dw2, db2] = [x, w1, b1, w2, b2].map(({ length }) => new Float64Array(length)) as [
    ...[Float64Array, Float64Array, Float64Array, Float64Array, Float64Array],
  ]
  for (let r = 0; r < x.length / inputs; r++) {
    const pre = Float64Array.from(b1, (bias, h) => {
      let sum = bias
      for (let i = 0; i < inputs; i++) sum += x[r * inputs + i]! * w1[h * inputs + i]!
      return sum
    })
    for (let o = 0; o < outputs; o++) {
      output[r * outputs + o]! += b2[o]!
      for (let h = 0; h < hidden; h++) output[r * outputs + o]! += gelu(pre[h]!) * w2[o * hidden + h]!
      db2[o]! += cotangent[r * outputs + o]!
    }
    for (let h = 0; h < hidden; h++) {
      let g = 0
      for (let o = 0; o < outputs; o++) {
        g += cotangent[r * outputs + o]! * w2[o * hidden + h]!
        dw2[o * hidden + h]! += cotangent[r * outputs + o]! * gelu(pre[h]!)
      }
      g *= geluGrad(pre[h]!)
      db1[h]! += g
      for (let i = 0; i < inputs; i++) {
        dx[r * inputs + i]! += g * w1[h * inputs + i]!
        dw1[h * inputs + i]! += g * x[r * inputs + i]!
      }
    }
  }
  return { shape: outShape, output, cotangent, gradients: [dx, dw1, db1, dw2, db2, Float64Array.from(cotangent)] }
}

const call = mlp as unknown as (...inputs: Tensor[]) => Tensor
const leaves = (operands: ReturnType<typeof values>, make: Make = leaf) => operands.map(([data, shape]) => make(data, shape))

const SHAPES: readonly [shape: Shape, hidden: number, outputs: number][] = [
  [[1], 1, 1],
  [[7], 33, 5],
  [[31, 33], 129, 31],
  [[4, 17, 64], 128, 64],
  [[2, 3, 5, 37], 35, 41],
  // Sums this long are split.
  [[3, 9], 1500, 7],
  [[1, 2100], 6, 2100],
]
for (const [shape, hidden, outputs] of SHAPES) {
  for (const [kind, make] of Object.entries({ contiguous: leaf, strided: stridedLeaf })) {
    test(`${kind} [${shape}] -> ${hidden} -> ${outputs}`, async () => {
      const operands = values(shape, hidden, outputs)
      await checkOp('mlp', call, leaves(operands, make), expected(operands))
    })
  }
}

test('one token of each sequence; the others get a gradient of 0', async () => {
  const [B, T, D] = [9, 5, 20]
  const operands = values([B, 1, D], 33, 12)
  const { gradients, ...rest } = expected(operands)
  const at = (b: number) => (b * T + 2) * D
  const [all, dx] = [normals(B * T * D, 8), new Float64Array(B * T * D)]
  for (let b = 0; b < B; b++) {
    all.set(operands[0]![0].subarray(b * D, (b + 1) * D), at(b))
    dx.set((gradients[0] as Float64Array).subarray(b * D, (b + 1) * D), at(b))
  }
  const inputs = [leaf(all, [B, T, D]), ...leaves(operands).slice(1)]
  const op = (x: Tensor, ...rest: Tensor[]) => call(slice(x, [[], [2, 3]]), ...rest)
  await checkOp('mlp', op, inputs, { ...rest, gradients: [dx, ...gradients.slice(1)] })
})

test('only the gradients that are wanted, and without a residual', async () => {
  const operands = values([7, 33], 20, 12)
  operands[5]![0].fill(0)
  const { gradients, ...rest } = expected(operands)
  for (let wanted = 0; wanted < 6; wanted++) {
    const inputs = leaves(operands)
    inputs.forEach((input, i) => {
      input.requiresGrad = i === wanted
    })
    const kept = gradients.map((gradient, i) => (i === wanted ? gradient : undefined))
    const some = wanted < 5 ? 5 : 6
    await checkOp('mlp', call, inputs.slice(0, some), { ...rest, gradients: kept.slice(0, some) })
  }
})

test('the bits of two calls of linear, with fewer dispatches backward', async () => {
  const operands = values([6, 17, 64], 128, 64)
  const run = async (op: (...inputs: Tensor[]) => Tensor) => {
    const inputs = leaves(operands)
    await device.synchronize()
    const before = device.counts.dispatches
    const output = op(...inputs)
    backward(output, tensor(normals(output.size, 9), { shape: output.shape }))
    await device.synchronize()
    const dispatches = device.counts.dispatches - before
    const all = await Promise.all([output, ...inputs.map(({ grad }) => grad!)].map((t) => t.data()))
    return { dispatches, all }
  }
  const fused = await run(call)
  const separate = await run((x, w1, b1, w2, b2, residual) =>
    linear(linear(x, w1, b1, { gelu: true }), w2, b2, { residual: residual! }),
  )
  for (const [i, values] of fused.all.entries())
    if (`${values}` !== `${separate.all[i]}`) throw new Error(`result ${i} differs`)
  if (fused.dispatches !== separate.dispatches - 1) throw new Error(`${fused.dispatches} and ${separate.dispatches} dispatches`)
})

test('x as its own residual: the same bits, with its gradient in one dispatch less', async () => {
  const [x, ...rest] = values([6, 17, 64], 128, 64)
  const run = async (isOwn: boolean) => {
    const inputs = leaves([x!, ...rest.slice(0, 4), x!])
    const residual = isOwn ? inputs[0]! : inputs[5]!
    await device.synchronize()
    const before = device.counts.dispatches
    const output = call(...inputs.slice(0, 5), residual)
    backward(output, tensor(normals(output.size, 9), { shape: output.shape }))
    await device.synchronize()
    const [own, other] = await Promise.all([inputs[0]!.grad!.data(), inputs[5]!.grad?.data()])
    return { dispatches: device.counts.dispatches - before, own, other }
  }
  const [joined, apart] = [await run(true), await run(false)]
  const sum = apart.own.map((value, i) => value + apart.other![i]!)
  if (`${joined.own}` !== `${sum}`) throw new Error('the gradient of x differs')
  if (joined.dispatches > apart.dispatches) throw new Error(`${joined.dispatches} and ${apart.dispatches} dispatches`)
})

test('gradients into the slots of an arena, of a bias and a weight that both layers use too', async () => {
  const operands = values([6, 9], 9, 9)
  for (const at of [3, 4]) operands[at] = operands[at - 2]!
  const { cotangent, gradients, output } = expected(operands)
  const [x, weight, bias, residual] = leaves([operands[0]!, operands[1]!, operands[2]!, operands[5]!]) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ]
  const arena = holdArenas('test', [weight, bias])[0]!
  const y = mlp(x, weight, bias, weight, bias, residual)
  assertClose(await y.data(), output, 1e-5, 'output')
  backward(y, tensor(Float32Array.from(cotangent), { shape: y.shape }))
  for (const slot of [0, 1]) {
    const want = Array.from(gradients[slot + 1]!, (value, i) => value + gradients[slot + 3]![i]!)
    assertClose(await arena.slot(arena.gradients, slot).data(), want, 1e-4, `slot ${slot}`)
  }
})

test('the same off the tape', async () => {
  const operands = values([5, 9], 12, 7)
  const out = noGrad(() => call(...leaves(operands)))
  assertClose(await out.data(), expected(operands).output, 1e-5, 'output')
})

test('refuses what it cannot take', () => {
  const zeros = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  const [x, w1, b1, w2, b2] = [zeros(2, 3), zeros(5, 3), zeros(5), zeros(4, 5), zeros(4)]
  assertShapeError(() => mlp(x, zeros(3, 5), b1, w2, b2), 'mlp: got float32 [2, 3], float32 [3, 5]')
  assertShapeError(() => mlp(x, w1, zeros(4), w2, b2), 'mlp: got')
  assertShapeError(() => mlp(x, w1, b1, zeros(4, 6), b2), 'mlp: got')
  assertShapeError(() => mlp(x, w1, b1, w2, zeros(5)), 'mlp: got')
  assertShapeError(() => mlp(tensor(1), w1, b1, w2, b2), 'float32 []')
  assertShapeError(() => mlp(tensor(new Int32Array(3)), w1, b1, w2, b2), 'int32 [3]')
  assertShapeError(() => mlp(x, w1, b1, w2, b2, zeros(5, 2, 4)), 'mlp: a residual [5, 2, 4]')
})

test('ends', () => device.destroy())
run()
