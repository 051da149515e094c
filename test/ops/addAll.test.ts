import '../../engine/methods.ts'
import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { addAll } from '../../engine/ops/addAll.ts'
import { mul } from '../../engine/ops/elementwise.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { checkSecondDerivatives, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('addAll op')

/** Adds neighbours in pairs, level by level, in float32. */
function treeSum(terms: readonly Float32Array[]): Float32Array {
  if (terms.length === 1) return terms[0]!
  const above = Array.from({ length: Math.ceil(terms.length / 2) }, (_, i) => {
    const [a, b] = [terms[2 * i]!, terms[2 * i + 1]]
    return b ? a.map((value, j) => value + b[j]!) : a
  })
  return treeSum(above)
}

for (const make of [leaf, stridedLeaf]) {
  for (const shape of [[1], [7, 5], [4, 16]]) {
    test(`${make.name}s of [${shape}], 1 to 17 of them`, async () => {
      const size = shape.reduce((product, n) => product * n, 1)
      for (const n of [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17]) {
        const values = Array.from({ length: n }, (_, i) => normals(size, i + 1))
        const terms = values.map((x) => make(x, shape))
        const cotangent = normals(size, 99)
        const sum = addAll(terms)
        backward(sum, tensor(cotangent, { shape }))
        const found = await sum.data()
        if (`${found}` !== `${treeSum(values)}`) throw new Error(`${n} terms: ${found} instead of ${treeSum(values)}`)
        for (const { grad } of terms) if (`${await grad!.data()}` !== `${cotangent}`) throw new Error(`gradient of ${n} terms`)
      }
    })
  }
}

test('a term that is several ones, one that broadcasts, and one without gradient', async () => {
  const [a, b] = [leaf(normals(6, 1), [2, 3]), leaf(normals(3, 2), [3])]
  const constant = tensor(normals(6, 3), { shape: [2, 3] })
  const sum = addAll([a, constant, a, a, b, constant])
  const [x, y, z] = (await Promise.all([a, b, constant].map((t) => t.data()))) as [Float32Array, Float32Array, Float32Array]
  const repeated = Float32Array.from({ length: 6 }, (_, i) => y[i % 3]!)
  const expected = treeSum([x, z, x, x, repeated, z])
  if (`${await sum.data()}` !== `${expected}`) throw new Error(`${await sum.data()} instead of ${expected}`)
  backward(sum, tensor(new Float32Array(6).fill(1), { shape: [2, 3] }))
  const gradients = [...(await a.grad!.data()), ...(await b.grad!.data())]
  if (`${gradients}` !== '3,3,3,3,3,3,2,2,2') throw new Error(`${gradients}`)
})

test('second derivatives', async () => {
  const inputs = [1, 2, 3].map((seed) => sample([2, 3], seed))
  const cube = (terms: Tensor[]) => {
    const sum = addAll(terms)
    return mul(mul(sum, sum), sum)
  }
  await checkSecondDerivatives('addAll', (...terms: Tensor[]) => cube(terms), inputs)
})

test('ends', () => device.destroy())
run()
