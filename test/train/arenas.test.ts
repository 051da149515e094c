import { equal, is, ok } from 'uvu/assert'
import { divide } from '../../engine/autograd/arenaLayout.ts'
import { capture, crossEntropy, requestDevice, scope, type Tensor, tensor, zeros } from '../../engine/index.ts'
import { createModel, type Mode, type ParaFormer } from '../../model/index.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { LossScale } from '../../train/optim/lossScale.ts'
import { captureStep, makeScheme, optimizerStep } from '../../train/schemes/index.ts'
import { normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('parameters in several arenas')

const BRANCHES = 3
const B = 4
const WHOLE = device.bindingBytes
const images = normals(B * 64, 1)
const labels = Int32Array.from({ length: B }, (_, i) => i % 5)

/** Runs `fn` while the device's bindings hold only some bytes. */
function withBindings<T>(bytes: number, fn: () => T): T {
  device.bindingBytes = bytes
  try {
    return fn()
  } finally {
    device.bindingBytes = WHOLE
  }
}

/** Makes a model and its optimizer with arenas of at most some bytes; parameters are the same in every call. */
function training(bytes: number, options: { lossScale?: LossScale } = {}) {
  device.random.seed = 5
  const sizes = { imageSize: 8, patchSize: 4, channels: 1, dim: 16, heads: 2, dimHead: 8, mlpDim: 24, classes: 5, dropout: 0.1 }
  const model = createModel({ ...sizes, architecture: 'paraformer', branches: BRANCHES, branchDepth: 2 }) as ParaFormer
  model.train()
  const optimizer = withBindings(bytes, () => new AdamW(model.namedParameters(), options))
  const arenas = new Set(model.parameters().map(({ storage }) => storage)).size
  return { model, optimizer, arenas }
}

type Training = ReturnType<typeof training>

/** Parameters, moments and step counts by name. */
async function stateOf({ model, optimizer }: Training): Promise<Record<string, number[]>> {
  const { m, v } = optimizer.state()
  const all: [string, Tensor][] = [
    ...model.namedParameters(),
    ...[...m].map(([name, t]): [string, Tensor] => [`m.${name}`, t]),
    ...[...v].map(([name, t]): [string, Tensor] => [`v.${name}`, t]),
  ]
  const values = await Promise.all(all.map(async ([name, t]) => [name, [...(await t.data())]] as const))
  for (const t of [...m.values(), ...v.values()]) t.dispose()
  return { ...Object.fromEntries(values), steps: Object.values(await optimizer.steps()) }
}

/** Takes some steps on one mini-batch. @returns the norms and losses */
async function train({ model, optimizer }: Training, mode: Mode, captured: boolean, steps = 4): Promise<number[]> {
  const [goal] = makeScheme('prefixSum', BRANCHES, { mode }).passes[0]!
  const batch = [{ images: tensor(images, { shape: [B, 1, 8, 8] }), labels: tensor(labels), share: 1 }]
  const step = captured ? captureStep(model, optimizer, goal!, 0.5) : undefined
  const found: number[] = []
  for (let i = 0; i < steps; i++) {
    const { norm, losses } = step ? step(batch, 1e-2) : optimizerStep(model, optimizer, goal!, batch, 1e-2, 0.5)
    found.push(await norm.item(), ...(await losses.data()))
  }
  if (step) found.push(step.statistics[0]!.dispatches)
  step?.dispose()
  return found
}

for (const mode of ['serial', 'streams', 'coalesced'] as const) {
  for (const captured of [false, true]) {
    test(`${mode}, ${captured ? 'captured' : 'eager'}: steps, moments and norms are those of one arena`, async () => {
      const whole = training(WHOLE)
      is(whole.arenas, 1)
      const [norms, state] = [await train(whole, mode, captured), await stateOf(whole)]
      // All parameters take 38 KiB.
      for (const bytes of [24 << 10, 16 << 10, 8 << 10, 4 << 10]) {
        const several = training(bytes)
        ok(several.arenas > 1, `${several.arenas} arenas of ${bytes}`)
        const found = await train(several, mode, captured)
        const dispatches = captured ? [norms.at(-1)!, found.at(-1)!] : undefined
        const steps = (list: number[]) => list.slice(0, captured ? -1 : undefined)
        assertClose(steps(found), steps(norms), 1e-5, `norms and losses, ${bytes}`)
        const moved = await stateOf(several)
        equal(Object.keys(moved), Object.keys(state))
        for (const [name, values] of Object.entries(state)) assertClose(moved[name]!, values, 1e-4, `${name}, ${bytes}`)
        if (dispatches) {
          // With several arenas, zeroing gradients takes one more dispatch, and each further arena takes two: its sums and its update.
          // Branches are still coalesced.
          const least = dispatches[0]! + 1 + 2 * (several.arenas - 1)
          // If weight and bias of a LayerNorm lie in different arenas, their gradients are copied.
          const apart = 2 * (several.arenas - 1) * (mode === 'coalesced' ? 1 : BRANCHES)
          const found = dispatches[1]!
          if (bytes >= 16 << 10)
            ok(found >= least && found <= least + apart, `${found} dispatches for ${dispatches[0]}, ${bytes}`)
        }
        several.optimizer.dispose()
        several.model.dispose()
      }
      whole.optimizer.dispose()
      whole.model.dispose()
    })
  }
}

test('the norm is over all arenas, and one gradient that is not finite leaves all of them as they are', async () => {
  const scale = () => ({ lossScale: new LossScale({ initial: 8, growthInterval: 2 }) })
  const several = training(8 << 10, scale())
  const { model, optimizer, arenas } = several
  ok(arenas > 2)
  const set = (value: number) => {
    for (const parameter of model.parameters()) parameter.grad = zeros(parameter.shape).add(value)
  }
  const count = model.parameters().reduce((sum, { size }) => sum + size, 0)
  set(8 * 0.25)
  assertClose([await optimizer.gradNorm().item()], [0.25 * Math.sqrt(count)], 1e-6, 'norm')
  assertClose([await optimizer.step(1e-2, 1).item()], [0.25 * Math.sqrt(count)], 1e-6, 'norm of the step')
  const before = await stateOf(several)
  // With clipping, m = (1 - beta1) g / norm.
  assertClose(before['m.embed.bias']!, Array(16).fill(0.1 / Math.sqrt(count)), 1e-5, 'moment in the first arena')
  assertClose(before['m.head.linear.bias']!, Array(5).fill(0.1 / Math.sqrt(count)), 1e-5, 'moment in the last arena')
  for (const which of ['embed.weight', 'branches.1.layers.1.mlp.fc1.weight', 'head.linear.bias']) {
    set(1)
    const bad = Object.fromEntries(model.namedParameters())[which]!
    bad.grad = bad.grad!.mul(Number.NaN)
    optimizer.step(1e-2, 1)
    equal(await stateOf(several), before, which)
  }
  is((await optimizer.lossScale.save()).scale, 1)
  optimizer.dispose()
  model.dispose()
})

test('an arena that another optimizer holds, with several beside it', async () => {
  const { model, optimizer, arenas } = training(8 << 10)
  const head = new AdamW(model.head.namedParameters())
  is(new Set(model.parameters().map(({ storage }) => storage)).size, arenas)
  const state = () => stateOf({ model, optimizer, arenas })
  const before = await state()
  scope(() => crossEntropy(model.forward(tensor(images, { shape: [B, 1, 8, 8] })), tensor(labels)).backward())
  head.step(1e-2)
  const after = await state()
  for (const [name, values] of Object.entries(before)) is(`${values}` !== `${after[name]}`, name.startsWith('head.'), name)
  head.dispose()
  optimizer.dispose()
  model.dispose()
})

test('colocated parameters in several allocations; an optimizer made later leaves them there', async () => {
  device.random.seed = 5
  const { model, optimizer } = training(WHOLE)
  optimizer.dispose()
  const other = createModel(model.config) as ParaFormer
  other.loadStateDict(model.stateDict())
  other.eval()
  model.eval()
  const x = tensor(images, { shape: [B, 1, 8, 8] })
  const want = await scope(() => model.forward(x)).data()
  const infer = capture((input: Tensor) => other.forward(input, { mode: 'coalesced' }))
  withBindings(8 << 10, () => other.colocate())
  const places = other.parameters().map(({ storage }) => storage)
  ok(new Set(places).size > 2)
  assertClose(await infer(x).data(), want, 1e-5, 'logits')
  const later = withBindings(8 << 10, () => new AdamW(other.namedParameters()))
  equal(
    other.parameters().map(({ storage }, i) => storage === places[i]),
    places.map(() => true),
  )
  assertClose(await infer(x).data(), want, 1e-5, 'logits of what was recorded before')
  later.dispose()
  infer.dispose()
  for (const m of [model, other]) m.dispose()
})

test('how parameters are divided', () => {
  const t = (blocks: number) => zeros([128 * blocks])
  const [a, z] = [t(1), t(1)]
  const branch = () => [t(1), t(2), t(1)]
  const branches = [branch(), branch()]
  const all = [a, ...branches.flat(), z]
  const names = new Map(all.map((parameter, i) => [parameter, ['a', '00', '01', '02', '10', '11', '12', 'z'][i]!]))
  const division = (blocks: number, sets: Tensor[][][] = [branches]) =>
    divide(all, sets, 512 * blocks).map((list) => list.map((parameter) => names.get(parameter)).join(' '))
  equal(division(10), ['a 00 01 02 10 11 12 z'])
  // A row has as many parameters as fit beside those of the other branch.
  equal(division(9), ['a 00 01 02 10 11 12', 'z'])
  equal(division(8), ['a 00 01 10 11', '02 12 z'])
  equal(division(6), ['a 00 10', '01 02 11 12', 'z'])
  // If two corresponding parameters do not fit, each has an arena of its own.
  equal(division(3), ['a 00 10', '01', '11', '02 12 z'])
  equal(division(2), ['a', '00 10', '01', '11', '02 12', 'z'])
  // Branches that differ or lack parameters keep their order.
  equal(division(8, [[branches[0]!, branches[1]!.slice(1)]]), ['a 00 01 02 10 11', '12 z'])
  equal(division(8, [[branches[0]!, [t(1), t(2), t(1)]]]), ['a 00 01 02 10 11', '12 z'])
  equal(division(8, []), ['a 00 01 02 10 11', '12 z'])
})

test('ends', () => device.destroy())
run()
