// Ops that move elements: slices with steps, flip, roll, tile, split and their like, against plain index arithmetic.
import { backward } from '../../engine/autograd/backward.ts'
import {
  add,
  chunk,
  concat,
  flatten,
  flip,
  repeat,
  requestDevice,
  roll,
  type Shape,
  slice,
  split,
  squeeze,
  type Tensor,
  tensor,
  tile,
  transpose,
  unsqueeze,
} from '../../engine/index.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { rowMajorStrides } from '../../kernels/layout.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('ops that rearrange')

/** By element of the result, the element of the input that it comes from. */
function sources(from: Shape, to: Shape, place: (index: number[]) => number[]): number[] {
  const [steps, strides] = [rowMajorStrides(to), rowMajorStrides(from)]
  return Array.from({ length: sizeOf(to) }, (_, i) => {
    const index = to.map((size, d) => Math.floor(i / steps[d]!) % size)
    return place(index).reduce((at, j, d) => at + j * strides[d]!, 0)
  })
}

const modulo = (a: number, n: number) => ((a % n) + n) % n

interface Case {
  name: string
  op: (x: Tensor) => Tensor
  from: Shape
  to: Shape
  place: (index: number[]) => number[]
}

const CASES: Case[] = [
  {
    name: 'slice ::2',
    op: (x) => slice(x, [[undefined, undefined, 2]]),
    from: [7, 3],
    to: [4, 3],
    place: ([i, j]) => [2 * i!, j!],
  },
  {
    name: 'slice 1:6:3, 1::4',
    op: (x) => slice(x, [[1, 6, 3], [], [1, undefined, 4]]),
    from: [7, 3, 33],
    to: [2, 3, 8],
    place: ([i, j, k]) => [1 + 3 * i!, j!, 1 + 4 * k!],
  },
  { name: 'slice ::-1', op: (x) => slice(x, [[undefined, undefined, -1]]), from: [5], to: [5], place: ([i]) => [4 - i!] },
  {
    name: 'slice -2:0:-2, 3:1:-1',
    op: (x) =>
      slice(x, [
        [-2, 0, -2],
        [3, 1, -1],
      ]),
    from: [8, 6],
    to: [3, 2],
    place: ([i, j]) => [6 - 2 * i!, 3 - j!],
  },
  { name: 'slice 100:-100:-3', op: (x) => slice(x, [[100, -100, -3]]), from: [8], to: [3], place: ([i]) => [7 - 3 * i!] },
  { name: 'flip of a number', op: (x) => flip(x), from: [], to: [], place: () => [] },
  { name: 'flip -1', op: (x) => flip(x, -1), from: [3, 36], to: [3, 36], place: ([i, j]) => [i!, 35 - j!] },
  { name: 'flip 0', op: (x) => flip(x, [0]), from: [5, 8], to: [5, 8], place: ([i, j]) => [4 - i!, j!] },
  {
    name: 'flip 0 and 2',
    op: (x) => flip(x, [2, 0]),
    from: [3, 4, 5],
    to: [3, 4, 5],
    place: ([i, j, k]) => [2 - i!, j!, 4 - k!],
  },
  { name: 'flip all', op: (x) => flip(x), from: [3, 4, 5], to: [3, 4, 5], place: ([i, j, k]) => [2 - i!, 3 - j!, 4 - k!] },
  { name: 'roll 2 along 0', op: (x) => roll(x, 2, 0), from: [5, 4], to: [5, 4], place: ([i, j]) => [modulo(i! - 2, 5), j!] },
  {
    name: 'roll along two dims',
    op: (x) => roll(x, [-1, 8], [0, -1]),
    from: [5, 2, 7],
    to: [5, 2, 7],
    place: ([i, j, k]) => [modulo(i! + 1, 5), j!, modulo(k! - 8, 7)],
  },
  {
    name: 'roll all',
    op: (x) => roll(x, 5),
    from: [3, 4],
    to: [3, 4],
    place: ([i, j]) => [Math.floor(modulo(4 * i! + j! - 5, 12) / 4), modulo(j! - 5, 4)],
  },
  { name: 'tile [3]', op: (x) => tile(x, [3]), from: [2, 5], to: [2, 15], place: ([i, j]) => [i!, j! % 5] },
  {
    name: 'tile with more dims',
    op: (x) => tile(x, [2, 1, 3, 2]),
    from: [3, 4],
    to: [2, 1, 9, 8],
    place: ([, , i, j]) => [i! % 3, j! % 4],
  },
  {
    name: 'tile of 4 dims',
    op: (x) => tile(x, [2, 2, 3, 2]),
    from: [2, 1, 3, 2],
    to: [4, 2, 9, 4],
    place: ([a, , c, d]) => [a! % 2, 0, c! % 3, d! % 2],
  },
  { name: 'repeat', op: (x) => repeat(x, [2, 3]), from: [5], to: [2, 15], place: ([, j]) => [j! % 5] },
  { name: 'squeeze all', op: (x) => squeeze(x), from: [1, 3, 1, 2], to: [3, 2], place: ([i, j]) => [0, i!, 0, j!] },
  { name: 'squeeze 0 and 1', op: (x) => squeeze(x, [0, 1]), from: [1, 3, 1], to: [3, 1], place: ([i]) => [0, i!, 0] },
  { name: 'unsqueeze -1', op: (x) => unsqueeze(x, -1), from: [2, 3], to: [2, 3, 1], place: ([i, j]) => [i!, j!] },
  {
    name: 'flatten',
    op: (x) => flatten(x),
    from: [2, 3, 4],
    to: [24],
    place: ([i]) => [Math.floor(i! / 12), Math.floor(i! / 4) % 3, i! % 4],
  },
  {
    name: 'flatten 1',
    op: (x) => flatten(x, 1),
    from: [2, 3, 4],
    to: [2, 12],
    place: ([i, j]) => [i!, Math.floor(j! / 4), j! % 4],
  },
  {
    name: 'split and join',
    op: (x) => concat(split(x, [2, 3], 1).toReversed(), 1),
    from: [3, 5],
    to: [3, 5],
    place: ([i, j]) => [i!, (j! + 2) % 5],
  },
  {
    name: 'chunks added',
    op: (x) => concat(chunk(x, 3, 0), 1),
    from: [6, 2],
    to: [2, 6],
    place: ([i, j]) => [2 * Math.floor(j! / 2) + i!, j! % 2],
  },
]

for (const { name, op, from, to, place } of CASES) {
  test(`${name} of [${from}]`, async () => {
    const x = normals(sizeOf(from), 1)
    const found = sources(from, to, place)
    const cotangent = normals(found.length, 2)
    const gradient = new Float64Array(x.length)
    for (const [i, at] of found.entries()) gradient[at]! += cotangent[i]!
    const output = found.map((at) => x[at]!)
    for (const make of [leaf, stridedLeaf]) {
      await checkOp(name, op, [make(x, from)], { shape: to, output, cotangent, gradients: [gradient] })
    }
    if (!device.capabilities.f16) return
    const half = tensor(
      Float32Array.from(x, (_, i) => i),
      { shape: from, dtype: 'float16', requiresGrad: true },
    )
    const y = op(half)
    assertClose(await y.data(), found, 0, `${name} of float16`)
    backward(
      y,
      tensor(
        Float32Array.from(found, () => 1),
        { shape: to, dtype: 'float16' },
      ),
    )
    const counts = new Float64Array(x.length)
    for (const at of found) counts[at]! += 1
    assertClose(await half.grad!.data(), counts, 0, `${name} of float16, gradient`)
  })
}

test('views share memory: steps, split, squeeze', () => {
  const x = tensor(new Float32Array(24), { shape: [4, 1, 6] })
  for (const view of [slice(x, [[0, 4, 2], [], [1, 6, 3]]), ...split(x, 2), squeeze(x), unsqueeze(x, 0), flatten(x)]) {
    if (view.storage !== x.storage) throw new Error(`a copy of shape [${view.shape}]`)
  }
})

test('pieces have the sizes of PyTorch', () => {
  const x = tensor(new Float32Array(7))
  const sizes = (pieces: Tensor[]) => pieces.map(({ size }) => size).join()
  for (const [got, want] of [
    [sizes(split(x, 3)), '3,3,1'],
    [sizes(chunk(x, 3)), '3,3,1'],
    [sizes(chunk(x, 5)), '2,2,2,1'],
    [sizes(chunk(x, 1)), '7'],
  ]) {
    if (got !== want) throw new Error(`${got}, expected ${want}`)
  }
})

test('int32 moves as it is', async () => {
  const x = tensor(Int32Array.of(1, -2, 2 ** 31 - 1, 4, 5, 6), { shape: [2, 3] })
  assertClose(await add(flip(transpose(x, 0, 1), 0), 0).data(), [2 ** 31 - 1, 6, -2, 5, 1, 4], 0, 'flip')
})

test('refuses what it cannot take', () => {
  const x = tensor(new Float32Array(6), { shape: [2, 3] })
  assertShapeError(() => slice(x, [[0, 2, 0]]), 'slice: got step 0 for dim 0 of [2, 3]')
  assertShapeError(() => slice(x, [[0, 1, -1]]), 'slice: [0, 1, -1] takes nothing from dim 0')
  assertShapeError(() => slice(x, [[0, 1, 0.5]]), 'slice: [0, 1, 0.5] takes nothing')
  assertShapeError(() => flip(x, 2), 'flip: dim 2')
  assertShapeError(() => flip(x, [0, -2]), 'flip: dims [0,-2] name a dim twice')
  assertShapeError(() => roll(x, [1, 2]), 'roll: got 2 shifts without dims')
  assertShapeError(() => roll(x, [1, 2], 0), 'roll: got 2 shifts for 1 dims')
  assertShapeError(() => split(x, [1, 1], 1), 'split: sizes [1,1] do not fill dim 1 of [2, 3]')
  assertShapeError(() => repeat(x, [2]), 'repeat: got 1 counts for [2, 3]')
  assertShapeError(() => flatten(x, 1, 0), 'flatten: got dims 1 to 0')
  assertShapeError(() => unsqueeze(x, 3), 'unsqueeze: dim 3')
})

test('ends', () => device.destroy())
run()
