import { inspect } from 'node:util'
import { capture, cast, grad, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { assertClose, messageOf } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const other = await requestDevice()
const { test, run } = suite('what a tensor shows and does')
const equal = (actual: unknown, expected: unknown) => {
  if (JSON.stringify(actual) !== JSON.stringify(expected))
    throw new Error(`${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
}
const make = (data: number[] | Int32Array, shape = [data.length]) => tensor(data, { shape, device })

test('its text has dtype, shape and device, and the values once they were read', async () => {
  const t = make([1, -2.5, 1 / 3, 1e-7, Number.NaN, 3], [2, 3])
  const head = `tensor float32 [2, 3] on ${device.summary.name}`
  equal(String(t), `${head}; await data() to see the values`)
  await t.data()
  const values = '[[       1,     -2.5, 0.333333],\n [   1e-7,      NaN,        3]]'.replace('   1e-7', '    1e-7')
  equal(String(t), `${head}\n${values}`)
  equal(inspect(t), String(t))
  equal(inspect({ t }).includes(head), true)
  t.write(Float32Array.of(1, 2, 3, 4, 5, 6))
  equal(String(t), `${head}; await data() to see the values`)
  equal(`${make([7], [])}`.includes('float32 [] on'), true)
  t.dispose()
  equal(String(t), `${head}, disposed`)
})

test('long dims are cut, large tensors are not kept', async () => {
  const t = make(Int32Array.from({ length: 20 }, (_, i) => i))
  await t.data()
  equal(String(t).split('\n')[1], '[ 0,  1,  2, …, 17, 18, 19]')
  const large = make(new Int32Array(2000))
  await large.data()
  equal(String(large).includes('await data()'), true)
  const scalar = make([2.5], [])
  await scalar.item()
  equal(String(scalar).split('\n')[1], '2.5')
})

test('what is shown is what was read, not what its reader made of it', async () => {
  const t = make([1, 2])
  const values = await t.data<Float32Array>()
  values.fill(9)
  equal(String(t).split('\n')[1], '[1, 2]')
})

test('array() nests the values', async () => {
  equal(await make([1, 2, 3, 4, 5, 6], [3, 1, 2]).array(), [[[1, 2]], [[3, 4]], [[5, 6]]])
  equal(await make([1, 2, 3, 4], [2, 2]).transpose(0, 1).array(), [
    [1, 3],
    [2, 4],
  ])
  equal(await make([5], []).array(), 5)
  equal(await make(Int32Array.of(1, 2)).array(), [1, 2])
})

test('`using` frees it at the end of the block', () => {
  const before = device.memory.liveBytes
  const block = (): Tensor => {
    using t = make([1, 2, 3])
    return t
  }
  equal(block().disposed, true)
  equal(device.memory.liveBytes, before)
})

test('clone has memory of its own and passes gradients', async () => {
  const x = tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { requiresGrad: true, device },
  )
  const copy = x.transpose(0, 1).clone()
  equal(
    [copy.storage === x.storage, copy.isContiguous(), await copy.array()],
    [
      false,
      true,
      [
        [1, 3],
        [2, 4],
      ],
    ],
  )
  assertClose(await grad(copy.mul(copy).sum(), x).data(), [2, 4, 6, 8], 0, 'gradient')
  const labels = make(Int32Array.of(1, 2)).clone()
  equal([labels.dtype, await labels.array()], ['int32', [1, 2]])
})

test('to() moves values between devices', async () => {
  const x = make([1, 2, 3, 4], [2, 2]).transpose(0, 1)
  const moved = await x.to(other)
  equal(
    [moved.device === other, moved.shape, await moved.array()],
    [
      true,
      [2, 2],
      [
        [1, 3],
        [2, 4],
      ],
    ],
  )
  const same = await x.to(device)
  equal([same === x, same.storage === x.storage], [false, true])
  equal((await make(Int32Array.of(3)).to(other)).dtype, 'int32')
  equal(/^to: got null/.test(await x.to(null as never).then(String, (error: Error) => error.message)), true)
})

test('write() takes a tensor, also in a captured step, which keeps state so', async () => {
  const [state, source] = [make([1, 2, 3, 4], [2, 2]), make([5, 6, 7, 8], [2, 2])]
  state.write(source.transpose(0, 1))
  equal(await state.array(), [
    [5, 7],
    [6, 8],
  ])
  state.write(state.transpose(0, 1))
  equal(await state.array(), [
    [5, 6],
    [7, 8],
  ])
  const sum = make([0])
  const step = capture((x: Tensor) => {
    sum.write(sum.add(x))
    return sum.mul(1)
  })
  const seen: number[] = []
  for (let i = 0; i < 3; i++) seen.push(await step(make([i + 1])).item())
  equal([seen, await sum.array()], [[1, 3, 6], [6]])
  const said = [make([1]), make(Int32Array.of(1, 2, 3, 4), [2, 2])].map((other) => messageOf(() => state.write(other)))
  equal(
    said.map((text) => /^write: (float32 \[1\]|int32 \[2, 2\]) into float32 \[2, 2\], takes a tensor of the same/.test(text)),
    [true, true],
  )
})

test('JSON has its text', () => {
  equal(JSON.stringify({ t: make([1]) }).includes('tensor float32 [1] on'), true)
})

test('requiresGrad can be switched on leaves', async () => {
  const x = make([1, 2])
  x.requiresGrad = true
  const y = x.mul(x)
  x.requiresGrad = false
  equal(x.mul(2).requiresGrad, false)
  y.sum().backward()
  assertClose(await x.grad!.data(), [2, 4], 0, 'what was recorded before')
  const said = [
    messageOf(() => {
      make(Int32Array.of(1)).requiresGrad = true
    }),
    messageOf(() => {
      y.requiresGrad = false
    }),
    messageOf(() => {
      x.requiresGrad = 1 as never
    }),
  ]
  equal([said[0]!.includes('int32'), said[1]!.includes('use detach()'), said[2]!.includes('true or false')], [true, true, true])
  const leaf = y.detach()
  leaf.requiresGrad = true
  equal([cast(leaf, 'int32').requiresGrad, leaf.argmax().requiresGrad], [false, false])
})

run()
