import { equal, is, ok, throws } from 'uvu/assert'
import {
  ArgumentError,
  arange,
  capture,
  relu,
  requestDevice,
  scope,
  type Tensor,
  tensor,
  UserError,
  zeros,
} from '../../engine/index.ts'
import { buffer, Dropout, Embedding, LayerNorm, Linear, Module, parameter, RmsNorm, Sequential } from '../../model/index.ts'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('layers and buffers')

/** Counts its calls on the device, and weighs what it gets. */
class Counter extends Module {
  readonly weight = parameter(() => tensor([1, 2, 3]))
  readonly calls = buffer(() => tensor(Int32Array.of(0)))
  readonly last = buffer(() => zeros([3]))

  forward(x: Tensor): Tensor {
    return x.mul(this.weight)
  }
}

class Twice extends Module {
  readonly first = new Counter()
  readonly list = [new Counter(), this.first]
  readonly shared = this.first.last
}

async function entriesOf(state: Record<string, Tensor>): Promise<Map<string, SafetensorsEntry>> {
  const entries = Object.entries(state).map(async ([name, t]): Promise<[string, SafetensorsEntry]> => {
    const data = await t.data()
    return [name, { dtype: t.dtype === 'int32' ? 'I32' : 'F32', shape: [...t.shape], data }]
  })
  return new Map(await Promise.all(entries))
}

test('buffers are in the state and not among the parameters, shared ones once', () => {
  const model = scope(() => new Twice())
  equal(
    model.namedParameters().map(([name]) => name),
    ['first.weight', 'list.0.weight'],
  )
  equal(
    model.namedBuffers().map(([name]) => name),
    ['first.calls', 'first.last', 'list.0.calls', 'list.0.last'],
  )
  equal(Object.keys(model.stateDict()), [
    ...['first.weight', 'first.calls', 'first.last', 'list.0.weight', 'list.0.calls', 'list.0.last'],
  ])
  is(
    model.namedBuffers().some(([, t]) => t.requiresGrad || t.disposed),
    false,
  )
  const optimizer = new AdamW(model.namedParameters())
  is(optimizer.parameters.length, 2)
  optimizer.dispose()
  model.dispose()
  ok(model.shared.disposed && model.first.calls.disposed)
})

test('buffers are saved and loaded, int32 too, under any of their names', async () => {
  const [model, other] = [new Twice(), new Twice()]
  model.first.calls.write(Int32Array.of(2 ** 24 + 1))
  model.first.last.write(Float32Array.of(1, 2, 3))
  const file = decodeSafetensors(encodeSafetensors(await entriesOf(model.stateDict()), {}), 'buffers')
  other.loadStateDict(file)
  is(await other.first.calls.item(), 2 ** 24 + 1)
  equal([...(await other.shared.data())], [1, 2, 3])
  const renamed = new Map([...file.tensors].map(([name, entry]) => [name.replace('first.last', 'shared'), entry]))
  const third = new Twice()
  third.loadStateDict(renamed)
  equal([...(await third.first.last.data())], [1, 2, 3])
  third.loadStateDict(new Twice().stateDict())
  equal([...(await third.first.last.data())], [0, 0, 0])
  const wrong = new Map(file.tensors).set('first.calls', { dtype: 'F32', shape: [1], data: Float32Array.of(1) })
  throws(() => third.loadStateDict(wrong), /first\.calls is F32, the model takes int32/)
  throws(
    () => third.loadStateDict(new Map([...file.tensors].filter(([name]) => name !== 'first.calls'))),
    (error: unknown) => error instanceof UserError && /missing first\.calls; use/.test(error.message),
  )
})

test('parameters in one arena are loaded from each other, and from themselves', async () => {
  const model = new Twice()
  const optimizer = new AdamW(model.namedParameters())
  const state = model.stateDict()
  model.first.weight.write(Float32Array.of(4, 5, 6))
  model.loadStateDict({ ...state, 'first.weight': state['list.0.weight']!, 'list.0.weight': state['first.weight']! })
  equal([...(await model.first.weight.data())], [1, 2, 3])
  equal([...(await model.list[0]!.weight.data())], [4, 5, 6])
  model.loadStateDict(Object.fromEntries(Object.entries(state).map(([name, t]) => [name, t.detach()])))
  equal([...(await model.list[0]!.weight.data())], [4, 5, 6])
  optimizer.dispose()
})

test('buffers that are refused', () => {
  throws(
    () => buffer(3 as never),
    (error: unknown) => error instanceof ArgumentError,
  )
  throws(() => buffer(() => 3 as never), /buffer: got 3 as its result, takes a function that returns a float32 or int32 tensor/)
})

test('Sequential: modules and functions, PyTorch’s names, gradients as without it, captured too', async () => {
  device.random.seed = 1
  const [first, last] = [new Linear(5, 4), new Linear(4, 3)]
  const model = new Sequential(first, relu, new Dropout(0.5), (x) => x.mul(2), last)
  equal(Object.keys(model.stateDict()), ['0.weight', '0.bias', '4.weight', '4.bias'])
  is(model.length, 5)
  is(model[0], first)
  is([...model].length, 5)
  const x = tensor(normals(10, 1), { shape: [2, 5] })
  const want = last.forward(relu(first.forward(x)).mul(2))
  const got = model.forward(x)
  equal(await got.data(), await want.data())
  got.sum().backward()
  const gradient = await first.weight.grad!.data()
  ok(gradient.some((value) => value !== 0))
  const captured = capture((input: Tensor) => model.forward(input))
  equal(await captured(x).data(), await want.data())
  captured.dispose()
  model.train()
  ok((model[2] as Dropout).training)
  const nested = new Sequential(model, new Sequential(new LayerNorm(3)))
  equal(Object.keys(nested.stateDict()).slice(-2), ['1.0.weight', '1.0.bias'])
  throws(
    () => new Sequential(first, 3 as never),
    /Sequential: got 3 as layer 1, takes modules with a forward\(x\), and functions/,
  )
  throws(() => new Sequential(new Twice() as never), /as layer 0/)
  const same = scope(() => new Sequential().forward(x))
  equal(await same.data(), await x.data())
})

test('Embedding, RmsNorm and Dropout', async () => {
  device.random.seed = 2
  const table = new Embedding(300, 40)
  const values = (await table.weight.data()) as Float32Array
  const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length
  ok(Math.abs(variance - 1) < 0.05, `variance ${variance}`)
  const rows = table.forward(tensor(Int32Array.of(7, 0, 7, 299), { shape: [2, 2] }))
  equal(rows.shape, [2, 2, 40])
  equal([...(await rows.data())].slice(0, 40), [...values.slice(280, 320)])
  rows.sum().backward()
  equal([...(await table.weight.grad!.data())].slice(280, 281), [2])

  const norm = new RmsNorm(4, 0)
  norm.weight.write(Float32Array.of(1, 2, 3, 4))
  const x = [1, 2, 3, 4]
  const root = Math.sqrt(30 / 4)
  assertClose(await norm.forward(tensor([x])).data(), [1 / root, 4 / root, 9 / root, 16 / root], 1e-6, 'RmsNorm')
  is(new RmsNorm(4).eps, 1e-6)
  is(new LayerNorm(4, 1e-6).eps, 1e-6)

  const dropout = new Dropout(0.25)
  const input = arange(1, 4001)
  is(dropout.forward(input), input)
  const kept = [...(await dropout.train().forward(input).data())]
  ok(kept.every((value, i) => value === 0 || Math.abs(value - (i + 1) / 0.75) < 1e-3 * value))
  const share = kept.filter((value) => value !== 0).length / 4000
  ok(Math.abs(share - 0.75) < 0.03, `${share}`)
  throws(() => new Embedding(0, 4), /Embedding: got 0 as count/)
  throws(() => new RmsNorm(4, -1), /RmsNorm: got -1 as eps/)
  throws(() => new LayerNorm(4, { eps: 1 } as never), /LayerNorm: got an object as eps/)
  throws(() => new Dropout(2), /Dropout: got p = 2/)
})

test('ends', () => device.destroy())
run()
