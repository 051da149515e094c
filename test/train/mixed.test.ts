import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requestDevice, tensor } from '../../engine/index.ts'
import { createModel, type ParaFormer } from '../../model/index.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { distributeBranches } from '../../train/devices/distribute.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { LossScale } from '../../train/optim/lossScale.ts'
import { captureStep, makeScheme, optimizerStep, type StepResult } from '../../train/schemes/index.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { assertClose, relativeError } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-mixed-'))
const device = await requestDevice()
const { test, run } = suite('mixed precision')

const BRANCHES = 3
const B = 8
const images = Float32Array.from({ length: B * 144 }, (_, i) => Math.sin(i * i * 0.37))
const labels = Int32Array.from({ length: B }, (_, i) => i % 5)

/** Makes a model and its optimizer with a loss scale; parameters are the same in every call. */
function training(precision: 'f32' | 'mixed', scale: { initial: number; growthInterval: number }) {
  device.random.seed = 5
  device.random.counter = 0
  const sizes = {
    imageSize: 12,
    patchSize: 4,
    channels: 1,
    dim: 32,
    heads: 2,
    dimHead: 16,
    mlpDim: 48,
    classes: 5,
    dropout: 0.1,
  }
  const model = createModel({ ...sizes, architecture: 'paraformer', branches: BRANCHES, branchDepth: 1 }) as ParaFormer
  model.precision = precision
  model.train()
  return { model, optimizer: new AdamW(model.namedParameters(), { lossScale: new LossScale(scale) }) }
}

const [objective] = makeScheme('prefixSum', BRANCHES).passes[0]!

/** The values of all parameters as one list. */
async function valuesOf({ parameters }: AdamW): Promise<number[]> {
  return (await Promise.all(parameters.map((parameter) => parameter.data()))).flatMap((values) => [...values])
}

/** Takes one step. @returns its losses and norm, and the loss scale, step counts and parameters after it */
async function follow({ model, optimizer }: ReturnType<typeof training>, step: () => StepResult) {
  const { losses, norm } = step()
  const [loss, length, scale, counts, parameters] = await Promise.all([
    losses.data(),
    norm.item(),
    optimizer.lossScale.save(),
    optimizer.steps(),
    valuesOf(optimizer),
  ])
  if (model.parameters().some(({ grad }) => grad)) throw new Error('gradients are left')
  return { loss: loss.at(-1)!, norm: length, ...scale, count: counts['head.linear.weight']!, parameters }
}

/** An eager step on one mini-batch in a number of parts. */
function eager({ model, optimizer }: ReturnType<typeof training>, parts = 1): () => StepResult {
  return () => {
    const size = B / parts
    const batches = Array.from({ length: parts }, (_, i) => ({
      images: tensor(images.subarray(i * size * 144, (i + 1) * size * 144), { shape: [size, 1, 12, 12] }),
      labels: tensor(labels.subarray(i * size, (i + 1) * size)),
      share: 1 / parts,
    }))
    return optimizerStep(model, optimizer, objective!, batches, 1e-3, 1)
  }
}

const CONSTANT = { initial: 1, growthInterval: 0 }

if (device.capabilities.f16) {
  test('losses and norms are those of float32 to 1e-2, also in parts', async () => {
    for (const parts of [1, 2]) {
      const [plain, mixed] = [training('f32', CONSTANT), training('mixed', { initial: 65536, growthInterval: 2000 })]
      const [plainStep, mixedStep] = [eager(plain, parts), eager(mixed, parts)]
      // Both models must draw the same random numbers, so the counter is set before each step.
      const counter = device.random.counter
      for (let i = 0; i < 5; i++) {
        device.random.counter = counter + 10 * i
        const want = await follow(plain, plainStep)
        device.random.counter = counter + 10 * i
        const got = await follow(mixed, mixedStep)
        assertClose([got.loss, got.norm], [want.loss, want.norm], 1e-2, `step ${i} in ${parts}`)
        if (got.count !== i + 1 || got.scale !== 65536 || got.steady !== i + 1)
          throw new Error(`step ${i}: ${got.scale}, ${got.steady}`)
        // One of the two may be equal by chance, but not both.
        if (relativeError([got.loss, got.norm], [want.loss, want.norm]) === 0)
          throw new Error('nothing was computed in float16')
      }
    }
  })

  test('steps that overflow are left out and halve the scale, steady ones double it; captured as eager, bit for bit', async () => {
    const start = { initial: 2 ** 34, growthInterval: 3 }
    const [first, second] = [training('mixed', start), training('mixed', start)]
    const step = captureStep(second.model, second.optimizer, objective!, 1)
    const held = { images: tensor(images, { shape: [B, 1, 12, 12] }), labels: tensor(labels), share: 1 }
    const runs = [eager(first), () => step([held], 1e-3)]
    const { counter } = device.random
    let [skipped, doubled, count] = [0, 0, 0]
    let before = await valuesOf(first.optimizer)
    let expected = { scale: start.initial, steady: 0 }
    for (let i = 0; i < 30; i++) {
      device.random.counter = counter + 10 * i
      const want = await follow(first, runs[0]!)
      device.random.counter = counter + 10 * i
      const got = await follow(second, runs[1]!)
      if (JSON.stringify(want) !== JSON.stringify(got)) throw new Error(`step ${i}: captured ${got.loss} ${got.scale}`)
      const finite = Number.isFinite(want.norm)
      if (!Number.isFinite(want.loss)) throw new Error(`step ${i}: the loss is ${want.loss}`)
      if (finite === (`${before}` === `${want.parameters}`)) throw new Error(`step ${i}: norm ${want.norm} and the parameters`)
      if (finite) count++
      const { scale, steady } = expected
      if (!finite) expected = { scale: scale / 2, steady: 0 }
      else expected = steady === 2 ? { scale: 2 * scale, steady: 0 } : { scale, steady: steady + 1 }
      if (want.scale !== expected.scale || want.steady !== expected.steady || want.count !== count) {
        throw new Error(
          `step ${i}: scale ${want.scale}, ${want.steady} steady, count ${want.count}, expected ${expected.scale}`,
        )
      }
      skipped += Number(!finite)
      doubled += Number(want.scale > scale)
      before = want.parameters
    }
    if (skipped < 3 || doubled < 2) throw new Error(`${skipped} steps left out, scale doubled ${doubled} times`)
    step.dispose()
  })

  test('branches on two devices leave out the same steps, and go on with one loss scale', async () => {
    const [plain, mixed] = [training('f32', CONSTANT), training('mixed', { initial: 2 ** 34, growthInterval: 4 })]
    const distributed = await distributeBranches(mixed.model, {
      others: [device.request],
      inProcess: true,
      optimizer: mixed.optimizer,
    })
    const plainStep = eager(plain)
    const { counter } = device.random
    let expected = { scale: 2 ** 34, steady: 0 }
    let [count, skipped] = [0, 0]
    for (let i = 0; i < 25; i++) {
      device.random.counter = counter + 10 * count
      const [reading] = distributed.updates({ images, labels }, [{ objective: objective!, lr: 1e-3 }], { maxNorm: 1 })
      const got = await reading!
      const { scale, steady } = expected
      if (Number.isFinite(got.norm)) {
        device.random.counter = counter + 10 * count++
        const want = await follow(plain, plainStep)
        assertClose([got.losses.at(-1)!, got.norm], [want.loss, want.norm], 2e-2, `step ${i}`)
        expected = steady === 3 ? { scale: 2 * scale, steady: 0 } : { scale, steady: steady + 1 }
      } else {
        skipped++
        expected = { scale: scale / 2, steady: 0 }
      }
      if (got.lossScale !== expected.scale) throw new Error(`step ${i}: scale ${got.lossScale}, expected ${expected.scale}`)
    }
    if (skipped < 3 || count < 5) throw new Error(`${skipped} steps left out, ${count} taken`)
    const { steps } = await distributed.state()
    const wrong = Object.entries(steps).find(([, taken]) => taken !== count)
    if (wrong || !steps['branches.1.layers.0.norm1.weight']) throw new Error(`${count} steps, but ${wrong}`)
    await distributed.close()
  })

  const settings = [
    ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '2'],
    ...[
      '--train-images',
      '320',
      '--test-images',
      '64',
      '--batch-size',
      '32',
      '--schedule',
      'constant',
      '--warmup',
      '2',
      '--seed',
      '3',
    ],
  ]
  const [whole, broken] = [join(work, 'whole'), join(work, 'broken')]
  const load = (folder: string) => {
    const path = join(folder, 'checkpoint.safetensors')
    return decodeSafetensors(readFileSync(path), path)
  }

  test('the command line: metrics tell the loss scale, and a resumed run ends with the same bits', async () => {
    const train = (folder: string, ...more: string[]) =>
      runHere(['train', ...settings, '--precision', 'mixed', '--max-steps', '9', '--out', folder, ...more])
    const straight = await train(whole)
    if (straight.code !== 0) throw new Error(straight.stderr)
    const short = await train(broken, '--max-steps', '4')
    if (short.code !== 0) throw new Error(short.stderr)
    const rest = await runHere(['train', '--resume', broken, '--max-steps', '9'])
    if (rest.code !== 0) throw new Error(rest.stderr)
    const lines = readFileSync(join(whole, 'metrics.jsonl'), 'utf8').trim().split('\n')
    const scales = lines.map((line) => JSON.parse(line)).filter(({ split, prefix }) => split === 'train' && prefix === 1)
    if (scales.length !== 9 || scales.some(({ lossScale }) => lossScale !== 65536)) throw new Error(lines.join('\n'))
    const [a, b] = [load(whole), load(broken)]
    for (const [name, { data }] of a.tensors) {
      const bytes = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength)
      if (!bytes(data).equals(bytes(b.tensors.get(name)!.data))) throw new Error(`${name} differs`)
    }
    const [left, right] = [a, b].map(({ metadata }) => {
      const { settings, steps, lossScale } = JSON.parse(metadata.training!)
      return JSON.stringify({ precision: settings.precision, steps, lossScale })
    })
    if (left !== right || !left!.includes('"lossScale":{"scale":65536,"steady":9}') || !left!.includes('"mixed"')) {
      throw new Error(`${left} and ${right}`)
    }
    await expectUserError(['train', '--resume', whole, '--precision', 'f32'], /--precision is fixed by the run/)
  })

  test('a loss that is not finite twice stops the run, names the op and what to do', async () => {
    const wild = ['--precision', 'mixed', '--lr', '1e30', '--max-norm', '1e30', '--out', join(work, 'nan')]
    const { code, stderr } = await runHere(['train', ...settings, ...wild])
    const message = /training stopped: NaN or infinity in mini-batch \d+ of epoch 1, first in \w+ .*, or --precision f32/
    if (code !== 2 || !message.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
  })

  test('eval and predict in mixed precision are near float32', async () => {
    const checkpoint = join(whole, 'model.safetensors')
    const losses: number[][] = []
    for (const precision of ['f32', 'mixed']) {
      const { code, stdout, stderr } = await runHere([
        'eval',
        '--checkpoint',
        checkpoint,
        '--images',
        '64',
        '--precision',
        precision,
        '--json',
      ])
      if (code !== 0) throw new Error(stderr)
      losses.push(JSON.parse(stdout).prefixes.map(({ loss }: { loss: number }) => loss))
    }
    const error = relativeError(losses[1]!, losses[0]!)
    if (!(error > 0 && error <= 1e-2)) throw new Error(`losses ${losses}`)
    await expectUserError(
      ['predict', '--checkpoint', checkpoint, '--input', 'x', '--gradients', 'y', '--precision', 'mixed'],
      /--gradients are computed in float32; leave out --precision mixed/,
    )
  })
} else {
  test('without shader-f16 training, eval and predict say so in one line', async () => {
    const message = /--precision mixed needs shader-f16, this device has none \(.*\); use --precision f32 or another --adapter/
    const small = ['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '2']
    const few = ['--train-images', '32', '--test-images', '32', '--max-steps', '1', '--batch-size', '32']
    const folder = join(work, 'run')
    await expectUserError(['train', ...small, ...few, '--precision', 'mixed', '--out', folder], message)
    const made = await runHere(['train', ...small, ...few, '--out', folder])
    if (made.code !== 0) throw new Error(made.stderr)
    const checkpoint = join(folder, 'model.safetensors')
    await expectUserError(['eval', '--checkpoint', checkpoint, '--images', '32', '--precision', 'mixed'], message)
  })
}

test('a precision that does not exist is one line', async () => {
  await expectUserError(['train', '--precision', 'half'], /precision.*'half' is invalid.*f32, mixed/)
})

test('ends', () => {
  device.destroy()
  rmSync(work, { recursive: true })
})
run()
