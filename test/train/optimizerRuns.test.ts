import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { files } from '#platform'
import { requestDevice, type Tensor, tensor, UserError } from '../../engine/index.ts'
import { buffer, type ModelConfig, ParaFormer } from '../../model/index.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { checkSettings, openData, readRun, startTrainer, type Trainer } from '../../train/index.ts'
import { saveCheckpoint, saveModel } from '../../train/run/checkpoint.ts'
import { expectUserError } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { rejects } from './userError.ts'

const device = await requestDevice()
const folder = mkdtempSync(join(tmpdir(), 'paraformer-optimizer-runs-'))
const path = join(folder, 'checkpoint.safetensors')
const { test, run } = suite('optimizers of runs')

/** ParaFormer with a buffer. */
class Counting extends ParaFormer {
  readonly passes = buffer(() => tensor(Int32Array.of(7)))
}

const tiny = {
  ...{ dim: 16, heads: 2, dimHead: 8, mlpDim: 16, patchSize: 14, branches: 2, dropout: 0.1, mode: 'serial' as const },
  ...{ trainImages: 128, testImages: 50, batchSize: 32, epochs: 2, warmup: 2, lr: 3e-3, scheme: 'joint', seed: 3 },
}
const base = checkSettings(tiny)
const data = await openData(base)
const options = { saveEvery: 1000, createModel: (config: ModelConfig) => new Counting(config) }

async function valuesOf(tensors: Readonly<Record<string, Tensor>>): Promise<string> {
  return `${await Promise.all(Object.values(tensors).map((t) => t.data()))}`
}

async function save(trainer: Trainer): Promise<void> {
  const { model, optimizer } = await trainer.saved()
  await saveCheckpoint(path, model, optimizer, trainer.state(), data.info, trainer.parts.ema)
}

for (const optimizer of ['sgd', 'lion', 'muon', 'adamW'] as const) {
  test(`${optimizer} with averages: a saved run goes on with the same bits, buffers included`, async () => {
    const settings = checkSettings({ ...tiny, optimizer, ema: 0.8 })
    const whole = await startTrainer(device, settings, data, options)
    await whole.run()
    const broken = await startTrainer(device, settings, data, options)
    ;(broken.parts.model as Counting).passes.write(Int32Array.of(9))
    await broken.run({ shouldStop: () => broken.position.step === 3, onSave: () => save(broken) })
    const from = await readRun(path, { ownModel: true })
    const resumed = await startTrainer(device, settings, data, options, from)
    assert.is(await (resumed.parts.model as Counting).passes.item(), 9)
    await resumed.run()
    const state = ({ parts }: Trainer) =>
      Promise.all([
        valuesOf(Object.fromEntries(parts.model.namedParameters())),
        valuesOf(parts.optimizer.stateDict()),
        valuesOf(parts.ema!.stateDict()),
      ])
    const want = await state(whole)
    assert.equal(await state(resumed), want)
    assert.is.not(want[0], want[2])
    assert.equal(resumed.history, whole.history)
    assert.ok(whole.history.every(({ losses }) => losses.every(Number.isFinite)))
    await saveModel(join(folder, 'model.safetensors'), await whole.result(), data.info)
    const saved = decodeSafetensors(await files.read(join(folder, 'model.safetensors')), 'model').tensors
    const average = whole.parts.ema!.stateDict()['head.linear.weight']!
    assert.equal(saved.get('head.linear.weight')!.data, await average.data())
    assert.equal([...saved.get('passes')!.data], [7])
  })
}

test('a checkpoint without the moments of its optimizer is refused', async () => {
  const settings = checkSettings({ ...tiny, optimizer: 'muon', maxSteps: 1 })
  const trainer = await startTrainer(device, settings, data, { saveEvery: 1000 })
  await trainer.run()
  const { model, optimizer } = await trainer.saved()
  const { momentum, ...rest } = optimizer.state()
  const without = { ...optimizer, state: () => ({ ...rest, momentum: new Map([...momentum!].slice(1)) }) }
  const steps = () => optimizer.steps()
  await saveCheckpoint(path, model, { ...without, steps, lossScale: optimizer.lossScale }, trainer.state(), data.info)
  await rejects(readRun(path), /lacks optimizer\.momentum\.branches\.\S+ of F32 \[/, UserError)
})

test('settings that do not go together', async () => {
  for (const [args, message] of [
    [['--momentum', '0.5'], /--momentum has no effect on --optimizer adamW; use it with sgd or muon/],
    [['--optimizer', 'lion', '--mode', 'devices'], /--mode devices takes --optimizer adamW without --ema/],
    [['--ema', '0.9', '--mode', 'devices'], /--mode devices takes --optimizer adamW without --ema/],
    [['--ema', '1'], /--ema 1 is not a number from 0 to 0\.999999/],
  ] as const)
    await expectUserError(['train', ...args], message)
})

test('ends', async () => {
  await Promise.all([data.train.close(), data.evaluation.close()])
  device.destroy()
  rmSync(folder, { recursive: true })
})
run()
