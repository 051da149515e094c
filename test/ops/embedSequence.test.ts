import '../../engine/methods.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { concat } from '../../engine/ops/concat.ts'
import { add, mul } from '../../engine/ops/elementwise.ts'
import { embedSequence } from '../../engine/ops/embedSequence.ts'
import { broadcastTo } from '../../engine/ops/shape.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { embedSequenceBackwardReference, embedSequenceReference } from '../../kernels/embedSequence/reference.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { checkSecondDerivatives, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('embedSequence op')

const SHAPES = [
  [1, 1, 1],
  [2, 16, 64],
  [3, 7, 5],
  [129, 2, 12],
] as const

for (const shape of SHAPES) {
  const [images, T, D] = shape
  const shapes = [shape, [1, 1, D], [1, T + 1, D]]
  const values = shapes.map((of, i) => normals(sizeOf(of), i + 1))
  const out = [images, T + 1, D]
  test(`[${shape}]`, async () => {
    const [tokens, first, positions] = values.map((x) => Float64Array.from(x))
    const arrays = { tokens: tokens!, first: first!, positions: positions!, out: new Float64Array(sizeOf(out)) }
    const output = embedSequenceReference({ images, T, D, each: images }, arrays).out!
    const cotangent = normals(sizeOf(out), 6)
    const { dtokens, sums } = embedSequenceBackwardReference(
      { images, T, D, firstOffset: 0, toPositions: D },
      { dy: Float64Array.from(cotangent), dtokens: new Float64Array(sizeOf(shape)), sums: new Float64Array((T + 2) * D) },
    )
    const gradients = [dtokens, sums!.subarray(0, D), sums!.subarray(D)]
    for (const make of [leaf, stridedLeaf]) {
      const inputs = values.map((x, i) => make(x, shapes[i]!))
      await checkOp('embedSequence', embedSequence, inputs, { shape: out, output, cotangent, gradients })
    }
  })

  test(`[${shape}] has the bits of concat and add`, async () => {
    const results = async (apply: (...inputs: [Tensor, Tensor, Tensor]) => Tensor) => {
      const inputs = values.map((x, i) => leaf(x, shapes[i]!)) as [Tensor, Tensor, Tensor]
      const y = apply(...inputs)
      backward(y, tensor(normals(sizeOf(out), 6), { shape: out }))
      return Promise.all([y, ...inputs.map(({ grad }) => grad!)].map((t) => t.data()))
    }
    const [y, dtokens, ...sums] = await results(embedSequence)
    const byParts = await results((tokens, first, positions) =>
      add(concat([broadcastTo(first, [images, 1, D]), tokens], 1), positions),
    )
    for (const [found, expected] of [
      [y, byParts[0]],
      [dtokens, byParts[1]],
    ])
      if (`${found}` !== `${expected}`) throw new Error(`${found} instead of ${expected}`)
    for (const [i, found] of sums.entries()) assertClose(found, byParts[i + 2]!, 1e-6, `sum ${i}`)
  })
}

test('some inputs without gradients', async () => {
  for (const needed of [0, 1, 2]) {
    const inputs = [normals(12, 1), normals(2, 2), normals(8, 3)].map((x, i) => {
      const shape = [
        [2, 3, 2],
        [1, 1, 2],
        [1, 4, 2],
      ][i]!
      return i === needed ? leaf(x, shape) : tensor(x, { shape })
    }) as [Tensor, Tensor, Tensor]
    backward(embedSequence(...inputs), tensor(new Float32Array(16).fill(1), { shape: [2, 4, 2] }))
    const found = await inputs[needed]!.grad!.data()
    const expected = new Float32Array(found.length).fill(needed === 0 ? 1 : 2)
    if (`${found}` !== `${expected}`) throw new Error(`input ${needed}: ${found}`)
    if (inputs.some(({ grad }, i) => (grad !== undefined) !== (i === needed))) throw new Error(`input ${needed} alone`)
  }
})

test('second derivatives', async () => {
  const inputs = [sample([2, 3, 2], 1), sample([1, 1, 2], 2), sample([1, 4, 2], 3)]
  await checkSecondDerivatives(
    'embedSequence',
    (...all: Tensor[]) => {
      const y = embedSequence(...(all as [Tensor, Tensor, Tensor]))
      return mul(mul(y, y), y)
    },
    inputs,
  )
})

test('refuses what it cannot take', () => {
  const make = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), { shape })
  const takes = 'takes float32 [B, T, D], [1, 1, D] and [1, T + 1, D]'
  assertShapeError(() => embedSequence(make(2, 3, 4), make(1, 1, 4), make(1, 3, 4)), takes)
  assertShapeError(() => embedSequence(make(2, 3, 4), make(1, 1, 3), make(1, 4, 4)), takes)
  assertShapeError(() => embedSequence(make(3, 4), make(1, 1, 4), make(1, 4, 4)), takes)
  assertShapeError(
    () => embedSequence(tensor(new Int32Array(4), { shape: [1, 2, 2] }), make(1, 1, 2), make(1, 3, 2)),
    'got int32 [1, 2, 2]',
  )
})
test('ends', () => device.destroy())
run()
