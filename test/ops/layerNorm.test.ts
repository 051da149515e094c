import { holdArenas } from '../../engine/autograd/arena.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { layerNorm } from '../../engine/ops/layerNorm.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { type Tensor, view } from '../../engine/tensor/tensor.ts'
import { layerNormBackwardReference, layerNormReference } from '../../kernels/layerNorm/reference.ts'
import { assertShapeError, checkOp, type ExpectedOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('layerNorm op')
const EPS = 1e-5

interface Values {
  shape: Shape
  x: Float32Array
  weight: Float32Array
  bias: Float32Array
}

function values(shape: Shape): Values {
  const n = shape.at(-1)!
  return {
    shape,
    x: normals(sizeOf(shape), 1),
    weight: normals(n, 2).map((value) => 1 + 0.3 * value),
    bias: normals(n, 3),
  }
}

/** The expected output and gradients in float64. */
function expected({ shape, x, weight, bias }: Values): ExpectedOp {
  const n = shape.at(-1)!
  const rows = x.length / n
  const place = { rows, n, xOffset: 0, xStride: n }
  const cotangent = normals(x.length, 4)
  const of = (data: ArrayLike<number>) => Float64Array.from(data)
  const room = (size: number) => new Float64Array(size)
  const forward = layerNormReference(
    { ...place, eps: EPS },
    { x: of(x), weight: of(weight), bias: of(bias), y: room(x.length), center: room(rows), rstd: room(rows) },
  )
  const kept = { x: of(x), weight: of(weight), center: forward.center!, rstd: forward.rstd!, dy: of(cotangent) }
  const problem = { ...place, input: true, chunks: 1, weightOffset: 0, toBias: n }
  const { dx, sums } = layerNormBackwardReference(problem, { ...kept, dx: room(x.length), sums: room(2 * n) })
  return { shape, output: forward.y!, cotangent, gradients: [dx, sums!.subarray(0, n), sums!.subarray(n)] }
}

const apply = (x: Tensor, weight: Tensor, bias: Tensor) => layerNorm(x, weight, bias)

const SHAPES: readonly Shape[] = [
  ...[1, 7, 31, 33, 129, 257, 1025].map((n) => [n]),
  ...[1, 7, 31, 33, 129, 257, 1025].map((n) => [3, n]),
  [1025, 33],
  [16400, 3],
  [300, 64],
  [2, 65, 48],
  [3, 2, 5, 12],
]

for (const shape of SHAPES) {
  test(`[${shape}]`, async () => {
    const operands = values(shape)
    const n = shape.at(-1)!
    const inputs = [leaf(operands.x, shape), leaf(operands.weight, [n]), leaf(operands.bias, [n])]
    await checkOp('layerNorm', apply, inputs, expected(operands))
  })
}

test('a view whose rows are not contiguous', async () => {
  const operands = values([5, 6, 12])
  const inputs = [stridedLeaf(operands.x, operands.shape), stridedLeaf(operands.weight, [12]), stridedLeaf(operands.bias, [12])]
  await checkOp('layerNorm', apply, inputs, expected(operands))
})

for (const dim of [37, 64]) {
  for (const shape of [
    [9, 1, dim],
    [9, dim],
  ]) {
    test(`one token of each sequence, [${shape}], is not copied`, async () => {
      const operands = values(shape)
      const tokens = new Float32Array(9 * 5 * dim)
      for (let b = 0; b < 9; b++) tokens.set(operands.x.subarray(b * dim, (b + 1) * dim), (b * 5 + 2) * dim)
      const strides = shape.length === 3 ? [5 * dim, dim, 1] : [5 * dim, 1]
      const x = view(tensor(tokens), { shape, strides, offset: 2 * dim })
      x.requiresGrad = true
      await checkOp('layerNorm', apply, [x, leaf(operands.weight, [dim]), leaf(operands.bias, [dim])], expected(operands))
    })
  }
}

test('only the gradients that are wanted', async () => {
  const operands = values([7, 33])
  const { gradients, ...rest } = expected(operands)
  for (let wanted = 0; wanted < 3; wanted++) {
    const inputs = [leaf(operands.x, operands.shape), leaf(operands.weight, [33]), leaf(operands.bias, [33])]
    inputs.forEach((input, i) => {
      input.requiresGrad = i === wanted
    })
    const kept = gradients.map((gradient, i) => (i === wanted ? gradient : undefined))
    await checkOp('layerNorm', apply, inputs, { ...rest, gradients: kept })
  }
})

for (const rows of [9, 1025]) {
  test(`gradients of ${rows} rows into the slots of an arena`, async () => {
    const operands = values([rows, 36])
    const { gradients, cotangent } = expected(operands)
    const [x, weight, bias] = [leaf(operands.x, operands.shape), leaf(operands.weight, [36]), leaf(operands.bias, [36])]
    // The bias lies before the weight in this arena, which must make no difference.
    const arena = holdArenas('test', [bias, weight])[0]!
    backward(layerNorm(x, weight, bias), tensor(Float32Array.from(cotangent), { shape: operands.shape }))
    assertClose(await weight.grad!.data(), gradients[1]!, 1e-4, 'weight')
    assertClose(await bias.grad!.data(), gradients[2]!, 1e-4, 'bias')
    const { offset } = weight.gradSlot!
    assertClose((await arena.gradients.data()).subarray(offset, offset + 36), gradients[1]!, 1e-4, 'slot of the weight')
  })
}

for (const kase of ['largeMean', 'smallVariance', 'constantRow']) {
  test(`layerNorm.${kase} as PyTorch`, async () => {
    const stored = (key: string) => golden.get(`layerNorm.${kase}.${key}`)!
    const names = ['x', 'weight', 'bias']
    await checkOp(
      `layerNorm.${kase}`,
      apply,
      names.map((name) => leaf(stored(name).data, stored(name).shape)),
      {
        shape: stored('output').shape,
        output: stored('output').data,
        cotangent: stored('cotangent').data,
        gradients: names.map((name) => stored(`grad.${name}`).data),
      },
    )
  })
}

test('refuses what it cannot take', () => {
  const [x, three, two] = [tensor(new Float32Array(6), { shape: [2, 3] }), tensor([1, 2, 3]), tensor([1, 2])]
  assertShapeError(() => layerNorm(x, two, three), 'layerNorm: got float32 [2, 3], float32 [2], float32 [3]')
  assertShapeError(() => layerNorm(x, three, two), 'layerNorm')
  assertShapeError(() => layerNorm(x, three, tensor(new Int32Array(3))), 'int32 [3]')
  assertShapeError(() => layerNorm(tensor(1), three, three), 'float32 []')
})
test('ends', () => device.destroy())
run()
