import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { dropout } from '../../engine/ops/dropout.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { dropoutProblem, streamOf } from '../../kernels/random/index.ts'
import { dropoutReference } from '../../kernels/random/reference.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('dropout op')

for (const p of [0.1, 0.5, 0.9, 1]) {
  for (const [kind, make] of Object.entries({ contiguous: leaf, strided: stridedLeaf })) {
    for (const shape of [[], [7], [33, 31], [2, 129, 4]]) {
      test(`p ${p} of ${kind} [${shape}], and the same mask on its gradient`, async () => {
        device.random.seed = 11
        device.random.counter = 3
        const count = shape.reduce((product, size) => product * size, 1)
        const [x, cotangent] = [normals(count, 1), normals(count, 2)]
        const masked = (values: Float32Array) => {
          const arrays = { x: Float64Array.from(values), y: new Float64Array(count) }
          return dropoutReference(dropoutProblem(count, p, streamOf(11, 3)), arrays).y!
        }
        await checkOp('dropout', (t) => dropout(t, p), [make(x, shape)], {
          shape,
          output: masked(x),
          cotangent,
          gradients: [masked(cotangent)],
        })
        if (device.random.counter !== 4) throw new Error(`the counter is ${device.random.counter}, expected 4`)
      })
    }
  }
}

test('zeros as many as p says, others scaled', async () => {
  device.random.seed = 5
  const n = 100_000
  const data = await dropout(tensor(new Float32Array(n).fill(2)), 0.1).data()
  const dropped = data.filter((value) => value === 0).length
  if (!(Math.abs(dropped / n - 0.1) < (6 * 0.3) / Math.sqrt(n))) throw new Error(`${dropped} of ${n} are 0`)
  const kept = Math.fround(2 * Math.fround(1 / 0.9))
  if (!data.every((value) => value === 0 || Math.abs(value - kept) < 1e-6)) throw new Error('others are not 2 / 0.9')
})

test('two calls drop different elements', async () => {
  const x = tensor(new Float32Array(100).fill(1))
  const [first, second] = [dropout(x, 0.5), dropout(x, 0.5)]
  if (`${await first.data()}` === `${await second.data()}`) throw new Error('the same mask twice')
})

test('p 0 is the identity and draws nothing', async () => {
  const x = leaf([1, 2, 3], [3])
  const before = device.random.counter
  const y = dropout(x, 0)
  backward(y, tensor([4, 5, 6]))
  assertClose(await y.data(), [1, 2, 3], 0, 'output')
  assertClose(await x.grad!.data(), [4, 5, 6], 0, 'gradient')
  y.dispose()
  assertClose(await x.data(), [1, 2, 3], 0, 'input after the output was disposed')
  if (device.random.counter !== before) throw new Error('a stream was drawn')
})

test('refusals name the op', () => {
  assertShapeError(() => dropout(tensor([1], { dtype: 'int32' }), 0.1), 'dropout: got int32')
  assertShapeError(() => dropout(tensor([1]), 1.5), 'dropout: got p = 1.5')
  assertShapeError(() => dropout(tensor([1]), -0.1), 'dropout: got p = -0.1')
  assertShapeError(() => dropout(tensor([1]), Number.NaN), 'dropout: got p = NaN')
})
test('ends', () => device.destroy())
run()
