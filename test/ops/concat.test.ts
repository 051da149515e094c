import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { concat, stack } from '../../engine/ops/concat.ts'
import { transpose } from '../../engine/ops/shape.ts'
import { slice } from '../../engine/ops/slice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('concat and stack')

/** Concatenates parts along a dim; all values are row-major. */
function joined(parts: readonly ArrayLike<number>[], shapes: readonly Shape[], dim: number): number[] {
  const outer = sizeOf(shapes[0]!.slice(0, dim))
  const out: number[] = []
  for (let o = 0; o < outer; o++) {
    for (const [k, part] of parts.entries()) {
      const run = sizeOf(shapes[k]!.slice(dim))
      for (let i = 0; i < run; i++) out.push(part[o * run + i]!)
    }
  }
  return out
}

/** Splits values into the parts that `joined` concatenates. */
function parted(values: ArrayLike<number>, shapes: readonly Shape[], dim: number): number[][] {
  const outer = sizeOf(shapes[0]!.slice(0, dim))
  const parts: number[][] = shapes.map(() => [])
  let at = 0
  for (let o = 0; o < outer; o++) {
    for (const [k, shape] of shapes.entries()) for (let i = sizeOf(shape.slice(dim)); i > 0; i--) parts[k]!.push(values[at++]!)
  }
  return parts
}

const CONCATS: [shapes: Shape[], dim: number][] = [
  [[[1], [1]], 0],
  [[[7]], 0],
  [[[3], [1], [33]], 0],
  [
    [
      [5, 36],
      [2, 36],
    ],
    0,
  ],
  [
    [
      [5, 36],
      [5, 4],
    ],
    1,
  ],
  [
    [
      [5, 31],
      [5, 2],
      [5, 7],
    ],
    -1,
  ],
  [
    [
      [4, 1, 36],
      [4, 65, 36],
    ],
    1,
  ],
  [
    [
      [4, 1, 37],
      [4, 8, 37],
    ],
    -2,
  ],
  [
    [
      [2, 3, 4, 5],
      [2, 3, 4, 1],
    ],
    3,
  ],
]
for (const [shapes, dim] of CONCATS) {
  for (const [kind, make] of Object.entries({ contiguous: leaf, strided: stridedLeaf })) {
    test(`concat of ${kind} ${shapes.map((shape) => `[${shape}]`).join(' ')} along ${dim}`, async () => {
      const axis = dim < 0 ? dim + shapes[0]!.length : dim
      const values = shapes.map((shape, k) => normals(sizeOf(shape), k + 1))
      const output = joined(values, shapes, axis)
      const cotangent = normals(output.length, 9)
      const shape = shapes[0]!.with(
        axis,
        shapes.reduce((sum, part) => sum + part[axis]!, 0),
      )
      const inputs = values.map((value, k) => make(value, shapes[k]!))
      await checkOp('concat', (...parts) => concat(parts, dim), inputs, {
        shape,
        output,
        cotangent,
        gradients: parted(cotangent, shapes, axis),
      })
    })
  }
}

for (const [shape, dim, axis] of [
  [[], 0, 0],
  [[7], 0, 0],
  [[7], 1, 1],
  [[7], -1, 1],
  [[5, 36], 1, 1],
  [[3, 5, 7], -2, 2],
] as [Shape, number, number][]) {
  test(`stack of three [${shape}] along ${dim}`, async () => {
    const values = [1, 2, 3].map((seed) => normals(sizeOf(shape), seed))
    const parts = values.map(() => shape.toSpliced(axis, 0, 1))
    const output = joined(values, parts, axis)
    const cotangent = normals(output.length, 9)
    const inputs = [leaf(values[0]!, shape), stridedLeaf(values[1]!, shape), leaf(values[2]!, shape)]
    const gradients = parted(cotangent, parts, axis)
    await checkOp('stack', (...all) => stack(all, dim), inputs, {
      shape: shape.toSpliced(axis, 0, 3),
      output,
      cotangent,
      gradients,
    })
  })
}

test('a part that wants no gradient gets none', async () => {
  const constant = tensor([1, 2])
  const cotangent = [5, 6, 7, 8]
  const expected = { shape: [4], output: [1, 2, 3, 4], cotangent, gradients: [[7, 8]] }
  await checkOp('concat', (t) => concat([constant, t], 0), [leaf([3, 4], [2])], expected)
  if (constant.grad) throw new Error('a constant got a gradient')
})

test('the same tensor twice', async () => {
  const expected = { shape: [4], output: [3, 4, 3, 4], cotangent: [5, 6, 7, 8], gradients: [[12, 14]] }
  await checkOp('concat', (t) => concat([t, t], 0), [leaf([3, 4], [2])], expected)
})

test('int32', async () => {
  const check = async (what: string, t: Tensor, expected: number[]) => {
    const data = await t.data()
    if (!(data instanceof Int32Array) || `${data}` !== `${expected}`)
      throw new Error(`${what}: got ${data}, expected ${expected}`)
  }
  const a = tensor([1, -2, 3, 4], { dtype: 'int32', shape: [2, 2] })
  await check('concat', concat([a, transpose(a, 0, 1)], 1), [1, -2, 1, 3, 3, 4, -2, 4])
  await check('stack', stack([slice(a, [[1]]), slice(a, [[0, 1]])], 0), [3, 4, 1, -2])
})

test('dtypes meet by the rule of all ops', async () => {
  const [a, b] = [tensor([1, 2], { dtype: 'int32' }), tensor([0.5, 1.5])]
  for (const t of [concat([a, b], 0), stack([a, b])]) {
    if (t.dtype !== 'float32' || `${await t.data()}` !== '1,2,0.5,1.5') throw new Error(`${t.dtype} ${await t.data()}`)
  }
})

test('refusals name the op', () => {
  const [a, b] = [tensor([1, 2, 3, 4], { shape: [2, 2] }), tensor([1, 2, 3], { shape: [3, 1] })]
  assertShapeError(() => concat([], 0), 'concat: got no tensors')
  assertShapeError(() => concat([a, b], 0), 'concat: [3, 1] does not fit [2, 2]')
  assertShapeError(() => concat([a, tensor([1, 2])], 0), 'concat: [2] does not fit [2, 2]')
  assertShapeError(() => concat([a, a], 2), 'concat: dim 2')
  assertShapeError(() => stack([], 0), 'stack: got no tensors')
  assertShapeError(() => stack([a, b], 0), 'stack: [3, 1] beside [2, 2]')
  assertShapeError(() => stack([a, a], 3), 'stack: dim 3')
})
test('ends', () => device.destroy())
run()
