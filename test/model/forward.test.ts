import { equal, is, not, ok, throws } from 'uvu/assert'
import { crossEntropy, noGrad, requestDevice, ShapeError, scope, type Tensor, tensor, UserError } from '../../engine/index.ts'
import { createModel, type ForwardOptions, ParaFormer, ViT } from '../../model/index.ts'
import { patches } from '../../model/vision.ts'
import { assertClose } from '../harness/errors.ts'
import { normal, testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('forward')
const device = await requestDevice()

const SHAPE = { imageSize: 12, patchSize: 4, channels: 2, dim: 20, heads: 2, dimHead: 8, mlpDim: 24, classes: 5, dropout: 0.5 }
const paraformer = new ParaFormer({ ...SHAPE, branches: 3, branchDepth: 2 })
const vit = new ViT({ ...SHAPE, depth: 3 })
const MODELS: [string, ParaFormer | ViT][] = [
  ['paraformer', paraformer],
  ['vit', vit],
]

const B = 4
const random = testRandom(5)
const images = tensor(
  Float32Array.from({ length: B * 2 * 12 * 12 }, () => normal(random)),
  { shape: [B, 2, 12, 12] },
)
const labels = tensor(Int32Array.of(1, 4, 0, 1))

/** The loss, the logits and all gradients of a forward pass, as lists of numbers. */
async function step(model: ParaFormer | ViT, options: ForwardOptions = {}) {
  const logits = scope(() => {
    const out = model.forward(images, options)
    crossEntropy(out, labels).backward()
    return out.detach()
  })
  const numbers: Record<string, number[]> = { logits: [...(await logits.data())] }
  logits.dispose()
  for (const [name, parameter] of model.namedParameters()) {
    if (!parameter.grad) continue
    numbers[name] = [...(await parameter.grad.data())]
    parameter.grad.dispose()
    parameter.grad = undefined
  }
  // Every pass here reaches the stem, the head, and a branch of at least 12 parameters.
  const reached = Object.keys(numbers).length - 1
  if (reached < 20) throw new Error(`only ${reached} parameters got a gradient`)
  return numbers
}

test('patches are row by row; inside one the order is row, column, channel', async () => {
  const [C, H, W, size] = [2, 4, 6, 2]
  // The digits of a pixel's value are its image, channel, row and column.
  const x = tensor(
    Float32Array.from({ length: 2 * C * H * W }, (_, i) => {
      const [b, c, row, column] = [Math.floor(i / (C * H * W)), Math.floor(i / (H * W)) % C, Math.floor(i / W) % H, i % W]
      return 1000 * b + 100 * c + 10 * row + column
    }),
    { shape: [2, C, H, W] },
  )
  const cut = scope(() => patches(x, size))
  equal(cut.shape, [2, 6, 8])
  const data = [...(await cut.data())]
  equal(data.slice(0, 8), [0, 100, 1, 101, 10, 110, 11, 111])
  equal(data.slice(8, 16), [2, 102, 3, 103, 12, 112, 13, 113])
  equal(data.slice((6 + 3) * 8, (6 + 4) * 8), [1020, 1120, 1021, 1121, 1030, 1130, 1031, 1131])
  x.dispose()
  cut.dispose()
})

test('streams give the bits of serial, gradients included', async () => {
  for (const [name, model] of MODELS) equal(await step(model, { mode: 'streams' }), await step(model, { mode: 'serial' }), name)
})

test('skipping dead tokens changes nothing beyond rounding', async () => {
  for (const [, model] of MODELS) {
    const [skipped, whole] = [await step(model), await step(model, { skipDeadTokens: false })]
    equal(Object.keys(skipped), Object.keys(whole))
    for (const [name, numbers] of Object.entries(whole)) assertClose(skipped[name]!, numbers, 1e-5, name)
  }
})

test('skipping dead tokens saves the work', () => {
  const rows = (options: ForwardOptions) => {
    const shapes: Record<string, readonly number[]> = {}
    scope(() => {
      noGrad(() => paraformer.forward(images, { ...options, taps: (name, t) => (shapes[name] = t.shape) }))
    })
    return ['layers.0', 'layers.1.norm1', 'layers.1.attention.values', 'layers.1'].map(
      (name) => shapes[`branches.2.${name}`]![1],
    )
  }
  equal(rows({}), [10, 10, 1, 1])
  equal(rows({ skipDeadTokens: false }), [10, 10, 10, 10])
})

test('all prefixes from one pass are those of separate passes', async () => {
  const all = scope(() => noGrad(() => paraformer.forwardPrefixes(images)))
  equal(all.shape, [3, B, 5])
  const rows = [...(await all.data())]
  for (const k of [1, 2, 3]) {
    const logits = scope(() => noGrad(() => paraformer.forward(images, { branches: k })))
    equal(logits.shape, [B, 5])
    assertClose(rows.slice((k - 1) * B * 5, k * B * 5), await logits.data(), 1e-6, `prefix ${k}`)
    logits.dispose()
  }
  const two = scope(() => noGrad(() => paraformer.forwardPrefixes(images, { branches: 2, mode: 'streams' })))
  equal(two.shape, [2, B, 5])
  equal([...(await two.data())], rows.slice(0, 2 * B * 5))
  all.dispose()
  two.dispose()
})

test('taps see every value, which outlive the pass, and change nothing', async () => {
  for (const [name, model] of MODELS) {
    const { residual, pool } = model.config
    is(pool, 'cls')
    const taps = new Map<string, Tensor>()
    const plain = scope(() => noGrad(() => model.forward(images)))
    const bits = [...(await plain.data())]
    plain.dispose()
    // The copies are made when the pass has ended, but not yet the scope.
    const { logits, copies } = scope(() =>
      noGrad(() => {
        const logits = model.forward(images, { taps: (tap, value) => taps.set(tap, value) })
        return { logits, copies: new Map([...taps].map(([tap, value]) => [tap, value.mul(1)])) }
      }),
    )
    equal([...(await logits.data())], bits)
    const depth = model.branches[0]!.layers.length
    const layer = ['norm1', 'attention.values', 'attention', 'norm2', 'mlp']
    const expected = model.branches.flatMap((_, i) => [
      ...Array.from({ length: depth }, (_, l) =>
        [...layer.map((name) => `.${name}`), ''].map((suffix) => `branches.${i}.layers.${l}${suffix}`),
      ),
      `branches.${i}`,
    ])
    equal([...taps.keys()], ['embed', ...expected.flat(), 'features'], name)
    equal(taps.get('embed')!.shape, [B, 10, 20])
    equal(taps.get('branches.0.layers.0.attention.values')!.shape, [B, 10, 16])
    equal(taps.get('features')!.shape, [B, 20])

    const values = new Map<string, number[]>()
    for (const [tap, copy] of copies) values.set(tap, [...(await copy.data())])
    const sum = model.branches.reduce(
      (total, _, i) => total.map((v, at) => v + values.get(`branches.${i}`)![at]!),
      Array<number>(B * 20).fill(0),
    )
    assertClose(values.get('features')!, sum, 1e-6, 'features')
    is(residual, name === 'vit' ? 'preNorm' : 'paper')
    for (const copy of [logits, ...copies.values()]) copy.dispose()
  }
})

test('features are what the head reads', async () => {
  for (const [, model] of MODELS) {
    const [features, logits, again] = scope(() =>
      noGrad(() => {
        const features = model.features(images)
        return [features, model.forward(images), model.head.forward(features)]
      }),
    ) as [Tensor, Tensor, Tensor]
    equal(features.shape, [B, 20])
    equal([...(await again.data())], [...(await logits.data())])
    for (const t of [features, logits, again]) t.dispose()
  }
})

test('dropout works in training only, and repeats with the random state', async () => {
  for (const [name, model] of MODELS) {
    const evaluated = await step(model)
    equal(await step(model), evaluated, name)
    model.train()
    const restart = (counter: number) => {
      device.random.counter = counter
      return step(model)
    }
    const first = await restart(100)
    const next = await step(model)
    not.equal(first.logits, evaluated.logits)
    not.equal(next.logits, first.logits)
    equal(await restart(100), first)
    model.eval()
    equal(await step(model), evaluated)
  }
  // Dropout zeroes half of the embedded sequence and doubles the rest.
  const embed = (model: ParaFormer) =>
    scope(() => {
      let embedded: Tensor | undefined
      noGrad(() => model.forward(images, { taps: (name, t) => (embedded = name === 'embed' ? t.detach() : embedded) }))
      return embedded!
    })
  const [whole, dropped] = [embed(paraformer), embed(paraformer.train())]
  paraformer.eval()
  const [x, y] = [await whole.data(), await dropped.data()]
  const kept = y.filter((v) => v !== 0).length / y.length
  ok(Math.abs(kept - 0.5) < 0.1, `kept ${kept}`)
  assertClose(
    y.filter((v) => v !== 0),
    x.map((v) => 2 * v).filter((_, i) => y[i] !== 0),
    1e-6,
    'kept',
  )
  whole.dispose()
  dropped.dispose()
})

test('a pass leaves nothing behind but its result', async () => {
  for (const options of [{}, { mode: 'streams' }, { skipDeadTokens: false }] as ForwardOptions[]) {
    const before = device.memory.liveBytes
    const logits = noGrad(() => paraformer.forward(images, options))
    const size = device.memory.liveBytes - before
    ok(size > 0 && size <= 1024, `${size} bytes for [4, 5] logits`)
    logits.dispose()
    is(device.memory.liveBytes, before)
    await step(paraformer, options)
    is(device.memory.liveBytes, before)
  }
})

test('what cannot run ends with one line', () => {
  for (const [, model] of MODELS) {
    for (const shape of [[2, 2, 12, 12, 1], [2, 12, 12], [B, 3, 12, 12], [B, 2, 11, 12], [288]]) {
      const size = shape.reduce((a, b) => a * b)
      const wrong = tensor(new Float32Array(size), { shape })
      throws(
        () => model.forward(wrong),
        (error: unknown) =>
          error instanceof ShapeError && /images are \[.*\]; this one takes \[B, 2, 12, 12\]$/.test(error.message),
      )
      wrong.dispose()
    }
    for (const [mode, message] of [
      ['sideways', /^mode "sideways" is unknown; choose /],
      ['devices', /^mode "devices" waits for other devices.*; use --mode devices on the command line, or BranchDevices$/],
    ] as const) {
      throws(
        () => model.forward(images, { mode: mode as any }),
        (error: unknown) => error instanceof UserError && message.test(error.message),
      )
    }
    throws(
      () => model.forward(images, { branches: 4 }),
      (error: unknown) => error instanceof UserError && /^branches 4/.test(error.message),
    )
  }
})

test('createModel takes the class by architecture', () => {
  const small = { ...SHAPE, dim: 4 }
  const models = [createModel({ ...small, branches: 1 }), createModel({ ...small, architecture: 'vit', depth: 1 })]
  ok(models[0] instanceof ParaFormer && models[1] instanceof ViT)
  for (const model of models) model.dispose()
})

test('ends', () => device.destroy())

run()
