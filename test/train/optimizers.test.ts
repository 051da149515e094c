import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { equal, is, ok, throws } from 'uvu/assert'
import { ArgumentError, capture, requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
import { AdamW, Lion, loadSafetensors, Muon, type Optimizer, Sgd, saveSafetensors } from '../../train/index.ts'
import { clipFactor, ReferenceAdamW } from '../harness/adamW.ts'
import { leaf, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { ReferenceLion } from '../harness/lion.ts'
import { ReferenceMuon } from '../harness/muon.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('optimizers')
const { test, run } = suite('kinds of optimizers')

const STEPS = 20
const PATH = join(mkdtempSync(join(tmpdir(), 'paraformer-optimizers-')), 'state.safetensors')
const all = () => true

/** A parameter of random values, and the same values in float64 for a reference. */
function followed(shape: number[], seed: number) {
  const data = normals(
    shape.reduce((size, dim) => size * dim, 1),
    seed,
  )
  return { t: leaf(data, shape), want: Float64Array.from(data) }
}

function give(parameters: readonly Tensor[], gradients: readonly ArrayLike<number>[]): void {
  for (const [i, parameter] of parameters.entries())
    parameter.grad = tensor(Float32Array.from(gradients[i]!), { shape: parameter.shape })
}

const SGD = {
  plain: {},
  decay: { weightDecay: 0.1 },
  momentum: { momentum: 0.9, weightDecay: 0.1 },
  dampening: { momentum: 0.8, dampening: 0.3, weightDecay: 0.1 },
  nesterov: { momentum: 0.9, nesterov: true, weightDecay: 0.1 },
} as const

for (const [name, options] of Object.entries(SGD)) {
  test(`Sgd as PyTorch's over 20 steps of two groups, clipped: ${name}`, async () => {
    const stored = (key: string) => golden.get(`sgd.${name}.${key}`)!
    const parameters = [0, 1].map((i) => leaf(Float32Array.from(stored(`parameter${i}`).data), stored(`parameter${i}`).shape))
    const [first, second] = parameters as [Tensor, Tensor]
    const groups = [{ parameters: [first] }, { parameters: [second], lr: 0.02, weightDecay: 0.01 }]
    const optimizer = new Sgd(groups, { ...options, decays: all })
    for (let step = 0; step < STEPS; step++) {
      const rows = (key: string) =>
        [0, 1].map((i) => {
          const { data, shape } = stored(`${key}${i}`)
          return data.subarray(step * shape[1]!, (step + 1) * shape[1]!)
        })
      give(parameters, rows('gradients'))
      optimizer.step(0.05 * (1 + (step % 3)), 9).dispose()
      for (const [i, want] of rows('output').entries())
        assertClose(await parameters[i]!.data(), want, 2e-6, `parameter ${i} after step ${step}`)
    }
    is(Object.keys(Object.fromEntries(optimizer.state().momentum)).length, 'momentum' in options ? 2 : 0)
    optimizer.dispose()
  })
}

for (const [name, make, Reference] of [
  ['AdamW', AdamW, ReferenceAdamW],
  ['Lion', Lion, ReferenceLion],
] as const) {
  test(`${name}: groups with learning rate, decay and betas of their own, 20 steps, clipped`, async () => {
    const parts = [followed([7, 3], 1), followed([130], 2), followed([64], 3)]
    const [a, b, c] = parts.map(({ t }) => t) as [Tensor, Tensor, Tensor]
    const betas = [0.8, 0.95] as const
    const optimizer = new make(
      [
        { parameters: [['a', a]], weightDecay: 0.2, lrScale: 0.5 },
        { parameters: [['b', b]], lr: 3e-3, betas },
        { parameters: [c], decays: all },
      ],
      { weightDecay: 0.1 },
    )
    equal(
      optimizer.groups.map(({ lr, lrScale, parameters }) => [lr, lrScale, parameters.length]),
      [
        [undefined, 0.5, 1],
        [3e-3, 1, 1],
        [undefined, 1, 1],
      ],
    )
    const wants = [
      new Reference(21, { decay: 0.2 }),
      new Reference(130, { decay: 0, betas }),
      new Reference(64, { decay: 0.1 }),
    ]
    for (let step = 0; step < STEPS; step++) {
      const gradients = parts.map(({ want }, i) => normals(want.length, 100 + 10 * step + i))
      give([a, b, c], gradients)
      const lr = 1e-2 / (1 + step)
      optimizer.step(lr, 8).dispose()
      const factor = clipFactor(gradients, 8)
      for (const [i, { want }] of parts.entries()) {
        wants[i]!.step(want, gradients[i]!, [0.5 * lr, 3e-3, lr][i]!, factor)
        assertClose(await parts[i]!.t.data(), want, 5e-6, `parameter ${i} after step ${step}`)
      }
    }
    equal(await optimizer.steps(), { a: STEPS, b: STEPS, 2: STEPS })
    optimizer.dispose()
  })
}

const KINDS: Record<string, (parameters: [string, Tensor][]) => Optimizer> = {
  AdamW: ([a, ...rest]) => new AdamW([{ parameters: [a!], lrScale: 0.5 }, { parameters: rest }]),
  Sgd: ([a, ...rest]) =>
    new Sgd([{ parameters: [a!], momentum: 0.5 }, { parameters: rest }], { momentum: 0.9, dampening: 0.1 }),
  Lion: ([a, ...rest]) => new Lion([{ parameters: [a!], lrScale: 0.5 }, { parameters: rest }]),
  Muon: ([a, ...rest]) => new Muon([{ parameters: [a!], lrScale: 0.5 }, { parameters: rest }]),
}

test('Muon: matrices of several shapes and AdamW for the rest, 20 steps, clipped', async () => {
  const shapes: Record<string, number[]> = {
    'layers.0.weight': [6, 9],
    'layers.0.bias': [6],
    'layers.1.weight': [6, 9],
    'conv.weight': [10, 2, 2, 2],
    'embed.weight': [5, 4],
    'layers.2.weight': [6, 9],
    'square.weight': [12, 12],
    'head.linear.weight': [3, 6],
  }
  const hidden = Object.keys(shapes).filter((name) => /layers.*weight|conv|square/.test(name))
  const parts = Object.entries(shapes).map(([name, shape], i) => ({ name, shape, ...followed(shape, i) }))
  const pairs = parts.map(({ name, t }): [string, Tensor] => [name, t])
  const optimizer = new Muon(
    [
      { parameters: pairs.slice(0, 5) },
      { parameters: pairs.slice(5), momentum: 0.9, nesterov: false, weightDecay: 0.2, lrScale: 0.5 },
    ],
    { weightDecay: 0.1 },
  )
  const wants = parts.map(({ name, shape, want }, i) => {
    const [rows, decay] = [shape[0]!, i < 5 ? 0.1 : 0.2]
    const how = i < 5 ? { decay } : { decay, momentum: 0.9, nesterov: false }
    if (hidden.includes(name)) return new ReferenceMuon(rows, want.length / rows, how)
    return new ReferenceAdamW(want.length, { decay: shape.length > 1 ? decay : 0, betas: [0.9, 0.95], eps: 1e-10 })
  })
  for (let step = 0; step < STEPS; step++) {
    const gradients = parts.map(({ want }, i) => normals(want.length, 500 + 10 * step + i))
    give(
      parts.map(({ t }) => t),
      gradients,
    )
    const lr = 0.02 / (1 + step)
    optimizer.step(lr, 10).dispose()
    const factor = clipFactor(gradients, 10)
    for (const [i, { name, want, t }] of parts.entries()) {
      wants[i]!.step(want, gradients[i]!, lr * (i < 5 ? 1 : 0.5) * (hidden.includes(name) ? 1 : 0.015), factor)
      assertClose(await t.data(), want, 1e-5, `${name} after step ${step}`)
    }
  }
  const { momentum, m, v } = optimizer.state()
  equal([...momentum.keys()].sort(), hidden.sort())
  equal([m.size, v.size], [3, 3])
  optimizer.dispose()
})

test('Muon: weights of one shape are multiplied together', () => {
  const launches = (count: number) => {
    const parameters = Array.from({ length: count }, (_, i) => followed([6, 9], i).t)
    const optimizer = new Muon(parameters)
    for (const parameter of parameters) parameter.grad = tensor(normals(54, 1), { shape: [6, 9] })
    // A gradient that lies elsewhere is copied to its place at once, which takes a dispatch for each.
    optimizer.gather()
    const step = capture(() => optimizer.step(optimizer.lr))
    step()
    const { dispatches } = step.statistics[0]!
    step.dispose()
    optimizer.dispose()
    return dispatches
  }
  is(launches(5), launches(2))
})

/** Parameters, an optimizer of them and a step on the gradients of a loss. */
function trained(make: (parameters: [string, Tensor][]) => Optimizer) {
  const parameters = [[6, 4], [5, 30], [30, 5], [5, 30], [9]].map((shape, i): [string, Tensor] => [
    `p${i}`,
    followed(shape, i).t,
  ])
  const optimizer = make(parameters)
  const step = (x: Tensor): Tensor => {
    const loss = parameters.reduce((sum: Tensor, [, p]) => sum.add(p.mul(x).tanh().mul(p).sum()), tensor(0))
    loss.backward()
    const norm = optimizer.step(optimizer.lr, 1)
    optimizer.zeroGrad()
    return norm
  }
  const values = async () => `${await Promise.all(parameters.map(([, p]) => p.data()))}`
  return { parameters, optimizer, step, values }
}

for (const [name, make] of Object.entries(KINDS)) {
  test(`${name}: a captured step follows the learning rates, of groups too, with the bits of an eager one`, async () => {
    const [eager, other] = [trained(make), trained(make)]
    const captured = capture(other.step)
    for (let i = 0; i < 4; i++) {
      for (const { optimizer } of [eager, other]) {
        optimizer.lr = 1e-2 / (1 + i)
        optimizer.groups[1]!.lr = i % 2 === 0 ? undefined : 3e-3
        optimizer.groups[0]!.lrScale = 1 + i
      }
      const x = tensor([0.5 + i])
      const norms = [scope(() => eager.step(x)), scope(() => captured(x))]
      is(await norms[0]!.item(), await norms[1]!.item(), `norm of step ${i}`)
      is(await other.values(), await eager.values(), `values after step ${i}`)
    }
    captured.dispose()
    for (const { optimizer } of [eager, other]) optimizer.dispose()
  })

  test(`${name}: a gradient that is not finite changes nothing`, async () => {
    const { parameters, optimizer, values } = trained(make)
    const before = await values()
    for (const [, p] of parameters) p.grad = tensor(new Float32Array(p.size).fill(Number.NaN), { shape: p.shape })
    is(Number.isFinite(await optimizer.step(1e-2).item()), false)
    is(await values(), before)
    ok(Object.values(await optimizer.steps()).every((count) => count === 0))
    optimizer.dispose()
  })
}

for (const [name, make] of Object.entries(KINDS)) {
  test(`${name}: saved after 3 steps and loaded elsewhere, it goes on with the same bits`, async () => {
    const [first, second] = [trained(make), trained(make)]
    for (const { optimizer } of [first, second]) optimizer.lr = 1e-2
    const go = (which: ReturnType<typeof trained>, i: number) => scope(() => which.step(tensor([1 + i]))).dispose()
    for (let i = 0; i < 3; i++) go(first, i)
    const state = first.optimizer.stateDict()
    await saveSafetensors(PATH, { ...state, ...Object.fromEntries(first.parameters) })
    for (let i = 3; i < 6; i++) go(first, i)
    const file = await loadSafetensors(PATH)
    const entries = new Map(file.tensors)
    for (const [key, p] of second.parameters) {
      p.write(entries.get(key)!.data as Float32Array)
      entries.delete(key)
    }
    second.optimizer.loadStateDict(entries)
    for (let i = 3; i < 6; i++) go(second, i)
    is(await second.values(), await first.values())
    equal(await second.optimizer.steps(), await first.optimizer.steps())
    const before = await second.values()
    entries.delete('steps')
    throws(
      () => second.optimizer.loadStateDict(entries),
      new RegExp(`^${name}\\.loadStateDict: the state does not fit: missing steps; use`),
    )
    is(await second.values(), before)
    for (const { optimizer } of [first, second]) optimizer.dispose()
    rmSync(PATH)
  })
}

test('groups that are refused', () => {
  const [a, b] = [followed([3], 1).t, followed([3], 2).t]
  const refuses = (make: () => unknown, ...parts: string[]) =>
    throws(
      make,
      (error: unknown) =>
        error instanceof ArgumentError && !error.message.includes('\n') && parts.every((part) => error.message.includes(part)),
      parts.join(' … '),
    )
  refuses(() => new Sgd([{ parameters: [a] }, { parameters: [a, b] }]), 'Sgd: 1 is in groups 0 and 1')
  refuses(() => new Sgd([{ parameters: [['w', a]] }, { parameters: [['w', b]] }]), 'two parameters are called "w"')
  refuses(() => new Sgd([{ parameters: [a] }, b] as never), 'Sgd: item 1 is no group')
  refuses(() => new Sgd([{ parameters: [a], learningRate: 1 }] as never), 'unknown option "learningRate"')
  refuses(() => new Sgd([{ parameters: a }] as never), 'takes parameters, such as model.namedParameters()')
  refuses(() => new Sgd([{ parameters: [a], lr: -1 }]), 'Sgd: got -1 as lr')
  refuses(() => new Sgd([{ parameters: [a], lrScale: Number.NaN }]), 'Sgd: got NaN as lrScale')
  refuses(() => new Sgd([{ parameters: [a], weightDecay: -1 }]), 'Sgd: got -1 as weightDecay')
  refuses(() => new Sgd([a], { momentum: 1 }), 'Sgd: got 1 as momentum')
  refuses(() => new Sgd([a], { dampening: 2 }), 'Sgd: got 2 as dampening')
  refuses(() => new Sgd([a], { nesterov: true }), 'nesterov takes a momentum above 0')
  refuses(() => new Sgd([a], { nesterov: 1 } as never), 'Sgd: got 1 as nesterov')
  refuses(() => new Lion([a], { betas: [1, 0.9] }), 'Lion: got 1 as beta1')
  refuses(() => new Muon([a], { iterations: 0 }), 'Muon: got 0 as iterations')
  refuses(() => new Muon([a], { adamLrScale: -1 }), 'Muon: got -1 as adamLrScale')
  refuses(() => new Muon([a], { hidden: true } as never), 'as hidden, takes a function')
  refuses(() => new AdamW([{ parameters: [a], eps: -1 }]), 'AdamW: got -1 as eps')
  const optimizer = new Lion([{ parameters: [a] }])
  refuses(() => {
    optimizer.groups[0]!.lr = Number.NaN
  }, 'Lion: got NaN as lr')
  optimizer.dispose()
})

test('ends', () => {
  device.destroy()
  rmSync(dirname(PATH), { recursive: true })
})
run()
