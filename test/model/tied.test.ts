import { equal, is, ok, throws } from 'uvu/assert'
import {
  capture,
  embedding,
  type ForkMode,
  fork,
  requestDevice,
  scope,
  type Tensor,
  tensor,
  UserError,
} from '../../engine/index.ts'
import { Linear } from '../../model/layers.ts'
import { Module, type Parameter, parameter } from '../../model/module.ts'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('tied weights')

const [V, D] = [6, 4]

class Table extends Module {
  weight: Parameter

  constructor(seed: number) {
    super()
    this.weight = parameter(() => tensor(normals(V * D, seed), { shape: [V, D] }))
  }
}

/** A model with one table for both its embedding and its output layer, and two branches between them. */
class Tied extends Module {
  readonly input: Table
  readonly branches: Linear[]
  readonly output: Table
  /** The Linear of both branches, under a name of its own. */
  readonly again: Linear

  constructor(seed: number, tied = true) {
    super()
    device.random.seed = seed
    this.input = new Table(seed)
    const shared = new Linear(D, D)
    this.branches = [shared, shared]
    this.output = new Table(seed + 1)
    if (tied) {
      this.output.weight.dispose()
      this.output.weight = this.input.weight
    }
    this.again = shared
  }

  /** Takes words, int32 [B], and gives logits [B, V]. */
  forward(words: Tensor, mode: ForkMode): Tensor {
    const x = embedding(this.input.weight, words) // [B, D]
    const [a, b] = fork(device, mode, { a: () => this.branches[0]!.forward(x), b: () => this.branches[1]!.forward(x).gelu() })
    return a!.add(b!).matmul(this.output.weight.transpose(0, 1)) // [B, V]
  }
}

const NAMES = ['input.weight', 'branches.0.weight', 'branches.0.bias']
const words = Int32Array.of(3, 0, 3, 5)
const cotangent = normals(words.length * V, 9)

test('once among the parameters, under the first name, and once in the state', () => {
  const model = new Tied(1)
  equal(
    model.namedParameters().map(([name]) => name),
    NAMES,
  )
  equal(Object.keys(model.stateDict()), NAMES)
  is(model.parameters().length, 3)
  const untied = new Tied(1, false)
  equal(Object.keys(untied.stateDict()), [...NAMES, 'output.weight'])
  model.train()
  ok(model.again.training)
  model.dispose()
  ok(model.output.weight.disposed)
})

test('a module that holds one around it', () => {
  class Child extends Module {
    parent: Module | undefined
    readonly weight = parameter(() => tensor([1]))
  }
  class Parent extends Module {
    readonly child = new Child()
  }
  const parent = new Parent()
  parent.child.parent = parent
  equal(Object.keys(parent.stateDict()), ['child.weight'])
  equal(Object.keys(parent.child.stateDict()), ['weight'])
  parent.train()
  ok(parent.child.training)
})

for (const mode of ['serial', 'streams', 'coalesced'] as const) {
  test(`gradients of both uses are added up, and one step moves both, ${mode}, captured too`, async () => {
    const [model, apart] = [new Tied(1), new Tied(1, false)]
    apart.output.weight.write((await model.input.weight.data()) as Float32Array)
    const optimizer = new AdamW(model.namedParameters())
    optimizer.lr = 1e-2
    const backward = (of: Tied, ids: Tensor) => of.forward(ids, mode).backward(tensor(cotangent, { shape: [words.length, V] }))
    const step = (ids: Tensor) => {
      backward(model, ids)
      const gradients = model.parameters().map(({ grad }) => grad!.detach())
      optimizer.step(optimizer.lr)
      optimizer.zeroGrad()
      return gradients
    }
    const captured = capture(step)
    for (let i = 0; i < 4; i++) {
      // The gradient of a shared table is the sum of the gradients of two tables with the same values.
      scope(() => backward(apart, tensor(words)))
      const parts = await Promise.all([apart.input, apart.output].map(({ weight }) => weight.grad!.data()))
      const want = parts[0]!.map((value, at) => value + parts[1]![at]!)
      const [linear] = await Promise.all([apart.branches[0]!.weight.grad!.data()])
      for (const parameter of apart.parameters()) {
        parameter.grad!.dispose()
        parameter.grad = undefined
      }
      const before = await model.input.weight.data()
      const gradients = scope(() => (i < 2 ? step : captured)(tensor(words)))
      assertClose(await gradients[0]!.data(), want, 1e-5, `gradient of the table, step ${i}`)
      assertClose(await gradients[1]!.data(), linear!, 1e-5, `gradient of the layer, step ${i}`)
      const after = await model.input.weight.data()
      ok(before.every((value, at) => value !== after[at]))
      equal(await model.output.weight.data(), after)
      apart.loadStateDict({ ...model.stateDict(), 'output.weight': model.output.weight })
    }
    equal(await optimizer.steps(), Object.fromEntries(NAMES.map((name) => [name, 4])))
    captured.dispose()
    optimizer.dispose()
  })
}

test('saved once, loaded again, also from states that have both names', async () => {
  const [model, other] = [new Tied(1), new Tied(2)]
  const optimizer = new AdamW(other.namedParameters())
  const entries = await Promise.all(
    Object.entries(model.stateDict()).map(
      async ([name, t]): Promise<[string, SafetensorsEntry]> => [
        name,
        { dtype: 'F32', shape: [...t.shape], data: await t.data() },
      ],
    ),
  )
  const file = decodeSafetensors(encodeSafetensors(new Map(entries), {}), 'tied')
  equal([...file.tensors.keys()].sort(), [...NAMES].sort())
  const check = async (what: string) => {
    for (const [i, parameter] of model.parameters().entries())
      equal(await other.parameters()[i]!.data(), await parameter.data(), what)
    other.parameters().forEach((parameter) => {
      parameter.write(new Float32Array(parameter.size))
    })
  }
  other.loadStateDict(file)
  await check('a file')
  const [table, ...rest] = entries as [(typeof entries)[0], ...typeof entries]
  other.loadStateDict(new Map([['output.weight', table[1]], ...rest]))
  await check('the second name alone')
  other.loadStateDict(new Map([...entries, ['output.weight', { ...table[1] }], ['again.bias', entries[2]![1]]]))
  await check('several names with the same values')
  other.loadStateDict({ ...model.stateDict(), 'output.weight': model.output.weight })
  await check('tensors under both names')
  const different = { ...table[1], data: new Float32Array(V * D) }
  const untied = new Tied(1, false)
  for (const source of [new Map([...entries, ['output.weight', different] as const]), untied.stateDict()]) {
    throws(
      () => other.loadStateDict(source),
      (error: unknown) =>
        error instanceof UserError &&
        error.message ===
          'input.weight and output.weight are one parameter of this model, the entries differ; give one of them',
    )
  }
  optimizer.dispose()
})

test('ends', () => device.destroy())
run()
