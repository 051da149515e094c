import { backward, defineOp } from '../../engine/autograd.ts'
import { copyInto, addInto } from '../../engine/accumulate.ts'
import { requestDevice } from '../../engine/device.ts'
import { scope } from '../../engine/scope.ts'
import { empty, type Tensor, tensor, view } from '../../engine/tensor.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('smoke')
const device = await requestDevice()
console.log(device.summary)
const addOp = defineOp<[Tensor, Tensor]>({
  name: 'add',
  forward: (_ctx, [a, b]) => { const o = empty(a.shape); copyInto(a, o); addInto(o, b); return o },
  backward: (_ctx, grad) => [grad, grad],
})
const T = defineOp<[Tensor]>({
  name: 'T',
  forward: (_c, [a]) => view(a, [a.shape[1]!, a.shape[0]!], [a.strides[1]!, a.strides[0]!], a.offset),
  backward: (_c, g) => [view(g, [g.shape[1]!, g.shape[0]!], [g.strides[1]!, g.strides[0]!], g.offset)],
})
test('adds and differentiates', async () => {
  const a = tensor([[1, 2, 3], [4, 5, 6]], { requiresGrad: true })
  const b = T([tensor([[10, 20], [30, 40], [50, 60]])], undefined)
  scope(() => {
    const y = addOp([addOp([a, b], undefined), a], undefined)
    backward(y, tensor([[1, 2, 3], [4, 5, 6]]))
  })
  assertClose(await a.grad!.data(), [2, 4, 6, 8, 10, 12], 0, 'grad')
  assertClose(await T([addOp([a, b], undefined)], undefined).data(), [11, 24, 32, 45, 53, 66], 0, 'y')
  const memory = () => device.memory.liveBytes
  const before = memory()
  for (let i = 0; i < 1000; i++) scope(() => { const y = addOp([addOp([a, b], undefined), a], undefined); backward(y, tensor([[1, 2, 3], [4, 5, 6]])) })
  await device.synchronize()
  if (memory() !== before) throw new Error(`${before} -> ${memory()}`)
  assertClose(await a.grad!.data(), [2, 4, 6, 8, 10, 12].map((x) => x * 1001), 1e-6, 'grad')
  console.log(device.memory)
})
test('lost', async () => {
  const a = tensor([1, 2])
  const reading = a.data()
  device.destroy()
  let n = 0
  await reading.catch((e) => { n++; console.log(e.name, e.message) })
  try { await a.data() } catch (e) { n++; console.log((e as Error).message) }
  if (n === 0) throw new Error('no error')
})
run()
