// A program that trains a model class of its own with the package's public functions alone.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  ArgumentError,
  checkConfig,
  checkSettings,
  EncoderLayer,
  evaluate,
  type ForwardOptions,
  type ModelConfig,
  ones,
  openData,
  ParaFormer,
  type Parameter,
  parameter,
  randn,
  readRun,
  requestDevice,
  setDefaultDevice,
  stack,
  startTrainer,
  type Tensor,
  Trainer,
  UserError,
} from '../../train/index.ts'
import { saveCheckpoint } from '../../train/run/checkpoint.ts'
import { suite } from '../harness/suite.ts'
import { rejects } from './userError.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-own-'))
const path = join(work, 'checkpoint.safetensors')
const device = await requestDevice()
const { test, run } = suite('a model of your own')
const settings = checkSettings({
  ...{ dim: 16, heads: 2, dimHead: 8, mlpDim: 16, patchSize: 14, branches: 2, mode: 'serial', scheme: 'joint', dropout: 0.2 },
  ...{ trainImages: 64, testImages: 32, batchSize: 16, epochs: 2 },
})
const data = await openData(settings)

/** A layer whose residuals are scaled by a learned number. */
class Scaled extends EncoderLayer {
  readonly scale: Parameter = parameter(() => ones([1]))

  override forward(x: Tensor, options: Parameters<EncoderLayer['forward']>[1] = {}): Tensor {
    return super.forward(x.mul(this.scale), options)
  }
}

/** ParaFormer with such layers, and a learned gate for each branch. */
class Gated extends ParaFormer {
  readonly gates: Parameter

  constructor(config: ModelConfig) {
    super(config)
    this.gates = parameter(() => ones([this.config.branches, 1, 1]))
    for (const { layers } of this.branches) for (const l of layers.keys()) layers[l] = new Scaled(this.config)
  }

  protected override prefixOutputs(images: Tensor, options: ForwardOptions): Tensor[] {
    return super.prefixOutputs(images, options).map((z, i) => z.mul(this.gates.slice([[i, i + 1]]).reshape([1])))
  }
}

const options = { saveEvery: 1000, createModel: (config: ModelConfig) => new Gated(config) }

test('it trains all its parameters, and a saved run goes on with the same bits', async () => {
  const whole = await startTrainer(device, settings, data, options)
  assert.ok(whole instanceof Trainer && whole.parts.model instanceof Gated)
  await whole.run()
  const { model } = whole.parts
  for (const name of ['gates', 'branches.1.layers.0.scale']) {
    const values = Array.from(await model.stateDict()[name]!.data())
    assert.ok(
      values.every((value) => value !== 1),
      `${name} is ${values}`,
    )
  }
  const broken = await startTrainer(device, settings, data, options)
  await broken.run({
    shouldStop: () => broken.position.step === 3,
    async onSave() {
      const saved = await broken.saved()
      await saveCheckpoint(path, saved.model, saved.optimizer, broken.state(), data.info)
    },
  })
  const from = await readRun(path, { ownModel: true })
  const resumed = await startTrainer(device, settings, data, options, from)
  await resumed.run()
  const expected = model.stateDict()
  const found = Object.entries(resumed.parts.model.stateDict())
  assert.is(found.length, Object.keys(expected).length)
  for (const [name, tensor] of found) assert.equal(await tensor.data(), await expected[name]!.data(), name)
  assert.equal(resumed.history, whole.history)
  assert.is(resumed.flops.total, whole.flops.total)
  const { accuracies } = await evaluate(model, data.evaluation)
  assert.equal(accuracies, whole.history.at(-1)!.accuracies)
})

test('features, outputs and the logits of every prefix are all of the branches as the class weighs them', async () => {
  const { dim, heads, dimHead, mlpDim, patchSize, branches } = settings
  const model = new Gated(
    checkConfig({ imageSize: 28, channels: 1, dim, heads, dimHead, mlpDim, patchSize, branches }, 'paraformer'),
  )
  model.gates.write(Float32Array.of(2, -0.5))
  const images = randn([3, 1, 28, 28])
  const plain = model.branchOutputs(images)
  const weighed = [plain[0]!.mul(2), plain[1]!.mul(-0.5)]
  const close = async (found: Tensor, expected: Tensor, what: string) => {
    const distance = await found.sub(expected).pow(2).max().item()
    assert.ok(distance < 1e-8, `${what}: ${distance}`)
  }
  const sum = weighed[0]!.add(weighed[1]!)
  await close(model.features(images), sum, 'features')
  await close(model.outputs(images), stack(weighed, 0), 'outputs')
  await close(model.forward(images), model.classify(sum), 'forward')
  const prefixes = stack([model.classify(weighed[0]!), model.classify(sum)], 0)
  await close(model.forwardPrefixes(images), prefixes, 'forwardPrefixes')
  model.dispose()
})

test('its checkpoint is not taken for one of another class', async () => {
  await rejects(readRun(path), /do not fit the model: unknown branches\.0\.layers\.0\.scale, .* gates/, UserError)
  const from = await readRun(path, { ownModel: true })
  await rejects(startTrainer(device, settings, data, { saveEvery: 9 }, from), /unknown .*scale/, UserError)
})

test('its branches cannot be spread over devices, whose processes know only the models of the library', async () => {
  const spread = startTrainer(device, { ...settings, mode: 'devices' }, data, options)
  await rejects(spread, /--mode devices spreads the library's own models/, UserError)
})

test('a model on another device than the run is refused', async () => {
  const other = await requestDevice()
  setDefaultDevice(other)
  await rejects(
    startTrainer(device, settings, data, options),
    /the model is on another device; make this one the default/,
    ArgumentError,
  )
  setDefaultDevice(device)
  other.destroy()
})

test('ends', async () => {
  await Promise.all([data.train.close(), data.evaluation.close()])
  device.destroy()
  rmSync(work, { recursive: true })
})
run()
