import { equal, is, ok, throws } from 'uvu/assert'
import { ones, requestDevice, scope, type Tensor, UserError } from '../../engine/index.ts'
import {
  createModel,
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  Mlp,
  Module,
  ParaFormer,
  type PartialConfig,
  parameter,
  RmsNorm,
  ViT,
} from '../../model/index.ts'
import { messageOf } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('module')
const device = await requestDevice()

const CONFIG: PartialConfig<'paraformer'> = {
  imageSize: 6,
  patchSize: 3,
  channels: 2,
  dim: 5,
  heads: 2,
  dimHead: 3,
  mlpDim: 7,
  branches: 2,
  branchDepth: 1,
  classes: 4,
}

const LAYER = {
  'norm1.weight': [5],
  'norm1.bias': [5],
  'attention.qkv.weight': [18, 5],
  'attention.out.weight': [5, 6],
  'attention.out.bias': [5],
  'norm2.weight': [5],
  'norm2.bias': [5],
  'mlp.fc1.weight': [7, 5],
  'mlp.fc1.bias': [7],
  'mlp.fc2.weight': [5, 7],
  'mlp.fc2.bias': [5],
}

function layerShapes(prefix: string) {
  return Object.fromEntries(Object.entries(LAYER).map(([name, shape]) => [`${prefix}.${name}`, shape]))
}

const STEM = { 'embed.weight': [5, 18], 'embed.bias': [5], clsToken: [1, 1, 5], posEmbedding: [1, 5, 5] }
const HEAD = { 'head.norm.weight': [5], 'head.norm.bias': [5], 'head.linear.weight': [4, 5], 'head.linear.bias': [4] }

async function values(state: Record<string, Tensor>): Promise<Record<string, number[]>> {
  const entries = Object.entries(state).map(async ([name, t]) => [name, [...(await t.data())]] as [string, number[]])
  return Object.fromEntries(await Promise.all(entries))
}

/** The entries of a safetensors file for a model, in which each value is its index plus `first`. */
function rawEntries(model: ParaFormer, dtype: 'F32' | 'F64', first: number) {
  const ArrayType = dtype === 'F32' ? Float32Array : Float64Array
  return new Map(
    model.namedParameters().map(([name, { shape, size }]) => {
      return [
        name,
        { dtype: dtype as string, shape: [...shape], data: ArrayType.from(Array.from({ length: size }, (_, i) => first + i)) },
      ]
    }),
  )
}

test('names and shapes are those of checkpoints, in reading order', () => {
  const shapes = (model: ParaFormer | ViT) =>
    Object.fromEntries(model.namedParameters().map(([name, { shape }]) => [name, shape]))
  const expected = { ...STEM, ...layerShapes('branches.0.layers.0'), ...layerShapes('branches.1.layers.0'), ...HEAD }
  const model = new ParaFormer(CONFIG)
  equal(shapes(model), expected)
  equal(Object.keys(model.stateDict()), Object.keys(expected))
  const { branches: _, branchDepth: __, ...rest } = CONFIG
  const vit = new ViT({ ...rest, architecture: 'vit', depth: 2 })
  equal(shapes(vit), { ...STEM, ...layerShapes('branches.0.layers.0'), ...layerShapes('branches.0.layers.1'), ...HEAD })
  model.dispose()
  vit.dispose()
})

test('parameters start as PyTorch’s and repeat with the seed', async () => {
  const make = async (seed: number) => {
    device.random.seed = seed
    device.random.counter = 0
    const model = new ParaFormer({ ...CONFIG, imageSize: 96, dim: 64 })
    ok(model.parameters().every((p) => p.requiresGrad))
    const state = await values(model.stateDict())
    model.dispose()
    return state
  }
  const first = await make(3)
  equal(await make(3), first)
  const other = await make(4)
  for (const [name, numbers] of Object.entries(first)) {
    if (/norm.*weight/.test(name))
      ok(
        numbers.every((v) => v === 1),
        name,
      )
    else if (/norm.*bias/.test(name))
      ok(
        numbers.every((v) => v === 0),
        name,
      )
    else
      ok(
        numbers.every((v, i) => v !== other[name]![i]),
        name,
      )
  }
  // Weights and biases are uniform in ±1 / sqrt(inputs), and come near both ends.
  const range = (name: string) => [Math.min(...first[name]!), Math.max(...first[name]!)]
  for (const [name, inputs] of [
    ['embed.weight', 18],
    ['branches.1.layers.0.mlp.fc1.weight', 64],
    ['head.linear.weight', 64],
  ] as const) {
    const bound = 1 / Math.sqrt(inputs)
    const [low, high] = range(name) as [number, number]
    ok(low >= -bound && low < -0.95 * bound && high <= bound && high > 0.95 * bound, `${name} in [${low}, ${high}]`)
  }
  const [low, high] = range('embed.bias') as [number, number]
  ok(low >= -1 / Math.sqrt(18) && low < -0.2 && high > 0.2 && high <= 1 / Math.sqrt(18), `embed.bias in [${low}, ${high}]`)
  // These are 1025 * 64 standard normal numbers.
  const positions = first.posEmbedding!
  const mean = positions.reduce((sum, v) => sum + v, 0) / positions.length
  const variance = positions.reduce((sum, v) => sum + (v - mean) ** 2, 0) / positions.length
  ok(Math.abs(mean) < 0.02 && Math.abs(variance - 1) < 0.03, `mean ${mean}, variance ${variance}`)
})

test('parameters outlive the scope they are made in', async () => {
  const model = scope(() => new ParaFormer(CONFIG))
  ok(model.parameters().every((p) => !p.disposed))
  is((await values(model.stateDict()))['embed.bias']!.length, 5)
  model.dispose()
  ok(model.parameters().every((p) => p.disposed))
})

test('train and eval reach every module', () => {
  const model = new ParaFormer(CONFIG)
  const modules = [model, model.embed, model.branches[1]!, model.branches[1]!.layers[0]!.mlp.fc2, model.head.norm]
  is(
    modules.some((m) => m.training),
    false,
  )
  is(model.train(), model)
  is(
    modules.every((m) => m.training),
    true,
  )
  model.eval()
  is(
    modules.some((m) => m.training),
    false,
  )
  model.dispose()
})

test('a state dict moves from model to model: tensors, raw entries, a whole file', async () => {
  const [a, b] = [new ParaFormer(CONFIG), createModel(CONFIG)]
  const expected = await values(a.stateDict())
  b.loadStateDict(a.stateDict())
  equal(await values(b.stateDict()), expected)
  equal(await values(a.stateDict()), expected)

  const tensors = b.stateDict()
  const entries = rawEntries(a, 'F32', 0.5)
  b.loadStateDict(entries)
  ok(
    Object.entries(b.stateDict()).every(([name, t]) => t === tensors[name]),
    'parameters are overwritten, not replaced',
  )
  const loaded = await values(b.stateDict())
  for (const [name, { data }] of entries) equal(loaded[name], [...data], name)

  b.loadStateDict({ tensors: rawEntries(a, 'F64', 2) })
  is((await values(b.stateDict())).posEmbedding![7], 9)
  b.loadStateDict({ tensors: Object.fromEntries(entries) })
  equal(await values(b.stateDict()), loaded)
  b.loadStateDict(new Map(Object.entries(a.stateDict())))
  equal(await values(b.stateDict()), expected)
  a.dispose()
  b.dispose()
})

test('what does not fit is named in one line, and nothing changes', async () => {
  const model = new ParaFormer(CONFIG)
  const before = await values(model.stateDict())
  const good = rawEntries(model, 'F32', 0)
  const bad = (change: (entries: typeof good) => void) => {
    const entries = new Map(good)
    change(entries)
    return entries
  }
  const cases: [entries: typeof good, message: RegExp][] = [
    [bad((e) => e.delete('head.linear.bias')), /: missing head\.linear\.bias; use/],
    [bad((e) => e.set('mask', e.get('clsToken')!)), /: unknown mask; use/],
    [
      bad((e) => e.set('embed.bias', { dtype: 'F32', shape: [4], data: new Float32Array(4) })),
      /embed\.bias is \[4\], the model has \[5\]/,
    ],
    [bad((e) => e.set('clsToken', { ...e.get('clsToken')!, shape: [5] })), /clsToken is \[5\], the model has \[1, 1, 5\]/],
    [bad((e) => e.set('clsToken', { ...e.get('clsToken')!, dtype: 'F16' })), /clsToken is F16, the model takes float32/],
    [bad((e) => e.set('clsToken', { ...e.get('clsToken')!, data: new Float32Array(4) })), /clsToken has 4 values, not 5/],
    [bad((e) => e.clear()), /missing embed\.weight, embed\.bias, clsToken and 27 more; use/],
    [
      bad((e) => {
        e.delete('embed.bias')
        e.set('embeds.bias', { dtype: 'F32', shape: [5], data: new Float32Array(5) })
        e.set('clsToken', { ...e.get('clsToken')!, shape: [5] })
      }),
      /missing embed\.bias; unknown embeds\.bias; clsToken is \[5\]/,
    ],
  ]
  for (const [entries, message] of cases) {
    for (const source of [entries, Object.fromEntries(entries), { tensors: entries }]) {
      throws(
        () => model.loadStateDict(source),
        (error: unknown) => error instanceof UserError && !error.message.includes('\n') && message.test(error.message),
        `no ${message}`,
      )
    }
  }
  equal(await values(model.stateDict()), before)
  model.dispose()
})

test('an array of parameters has their names, and weights can be tied', () => {
  class Prompts extends Module {
    prompts = [parameter(() => ones([2])), parameter(() => ones([3]))]
    table = new Embedding(5, 3)
    out = new Linear(3, 5, { bias: false })
    constructor() {
      super()
      this.out.weight = this.table.weight
    }
  }
  const names = Object.keys(new Prompts().stateDict())
  if (names.join() !== 'prompts.0,prompts.1,table.weight') throw new Error(names.join())
})

test('layers refuse arguments that they do not have', () => {
  const calls: [layer: any, ...given: unknown[]][] = [
    [Embedding, 3, 2, { paddingIndex: 0 }],
    [Dropout, 0.5, { x: 1 }],
    [Linear, 3, 3, {}, 1],
    [Mlp, 3, 3, 1],
    [LayerNorm, 3, 1e-5, 1],
    [RmsNorm, 3, 1e-5, 1],
  ]
  for (const [Layer, ...given] of calls)
    if (!/behind its arguments/.test(messageOf(() => new Layer(...given)))) throw new Error(String(Layer))
})

test('ends', () => device.destroy())

run()
