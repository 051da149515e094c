import { requestDevice, rmsNorm, type Tensor, tensor } from '../../engine/index.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { view } from '../../engine/tensor/tensor.ts'
import { rmsNormBackwardReference, rmsNormReference } from '../../kernels/rmsNorm/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('rmsNorm op')
/** So large that rows of one element have a gradient beyond rounding errors. */
const EPS = 0.1

interface Values {
  shape: Shape
  x: Float32Array
  weight: Float32Array
}

function values(shape: Shape): Values {
  return { shape, x: normals(sizeOf(shape), 1), weight: normals(shape.at(-1)!, 2).map((value) => 1 + 0.3 * value) }
}

/** The expected output and gradients in float64. */
function expected({ shape, x, weight }: Values): ExpectedOp {
  const n = shape.at(-1)!
  const place = { rows: x.length / n, n, xOffset: 0, xStride: n }
  const cotangent = normals(x.length, 4)
  const room = (size: number) => new Float64Array(size)
  const inputs = { x: Float64Array.from(x), weight: Float64Array.from(weight) }
  const { y, rstd } = rmsNormReference({ ...place, eps: EPS }, { ...inputs, y: room(x.length), rstd: room(place.rows) })
  const operands = { ...inputs, rstd: rstd!, dy: Float64Array.from(cotangent), dx: room(x.length), terms: room(x.length) }
  const { dx, terms } = rmsNormBackwardReference({ ...place, terms: true }, operands)
  const dweight = room(n)
  for (let i = 0; i < x.length; i++) dweight[i % n]! += terms![i]!
  return { shape, output: y!, cotangent, gradients: [dx, dweight] }
}

const apply = (x: Tensor, weight: Tensor) => rmsNorm(x, weight, EPS)

const SHAPES: readonly Shape[] = [[1], [33], [3, 1], [3, 129], [3, 1025], [1025, 33], [16400, 3], [2, 65, 48], [3, 2, 5, 12]]

for (const shape of SHAPES) {
  test(`[${shape}]`, async () => {
    const operands = values(shape)
    await checkOp('rmsNorm', apply, [leaf(operands.x, shape), leaf(operands.weight, shape.slice(-1))], expected(operands))
  })
}

test('a view whose rows are not contiguous', async () => {
  const operands = values([5, 6, 12])
  const inputs = [stridedLeaf(operands.x, operands.shape), stridedLeaf(operands.weight, [12])]
  await checkOp('rmsNorm', apply, inputs, expected(operands))
})

for (const dim of [37, 64]) {
  test(`one token of each sequence, [9, ${dim}], is not copied`, async () => {
    const operands = values([9, dim])
    const tokens = new Float32Array(9 * 5 * dim)
    for (let b = 0; b < 9; b++) tokens.set(operands.x.subarray(b * dim, (b + 1) * dim), (b * 5 + 2) * dim)
    const x = view(tensor(tokens), { shape: [9, dim], strides: [5 * dim, 1], offset: 2 * dim })
    x.requiresGrad = true
    await checkOp('rmsNorm', apply, [x, leaf(operands.weight, [dim])], expected(operands))
  })
}

test('only the gradient that is wanted', async () => {
  const operands = values([7, 33])
  const { gradients, ...rest } = expected(operands)
  for (const wanted of [0, 1]) {
    const inputs = [leaf(operands.x, operands.shape), leaf(operands.weight, [33])]
    inputs[1 - wanted]!.requiresGrad = false
    await checkOp('rmsNorm', apply, inputs, {
      ...rest,
      gradients: gradients.map((gradient, i) => (i === wanted ? gradient : undefined)),
    })
  }
})

test('is its formula of other ops, whose gradients were derived apart', async () => {
  const { shape, x, weight } = values([9, 33])
  const results = await Promise.all(
    [apply, (x: Tensor, weight: Tensor) => x.div(x.mul(x).mean(-1, true).add(EPS).sqrt()).mul(weight)].map(async (norm) => {
      const [input, scale] = [leaf(x, shape), leaf(weight, [33])]
      const y = norm(input, scale)
      y.backward(tensor(normals(x.length, 4), { shape }))
      return await Promise.all([y, input.grad!, scale.grad!].map((t) => t.data()))
    }),
  )
  const [ours, composed] = results as [Float32Array[], Float32Array[]]
  for (const [i, what] of ['y', 'dx', 'dweight'].entries()) assertClose(ours[i]!, composed[i]!, 1e-5, what)
})

test('refuses what it cannot take', () => {
  const [x, three, two] = [tensor(new Float32Array(6), { shape: [2, 3] }), tensor([1, 2, 3]), tensor([1, 2])]
  assertShapeError(() => rmsNorm(x, two), 'rmsNorm: got float32 [2, 3] and float32 [2]; takes float32 [..., D] and [D]')
  assertShapeError(() => rmsNorm(x, tensor(new Int32Array(3))), 'int32 [3]')
  assertShapeError(() => rmsNorm(tensor(1), three), 'float32 []')
})
test('ends', () => device.destroy())
run()
