import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { requestDevice, UserError } from '../../engine/index.ts'
import { createModel, type Model, type ModelConfig, type PartialConfig } from '../../model/index.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import type { Checkpoint } from '../../train/run/checkpoint.ts'
import { checkInitial, loadInitial, resizePositions, settingsLike } from '../../train/run/initFrom.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { throws } from './userError.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-init-'))
const device = await requestDevice()
const { test, run } = suite('--init-from')
const SIZES = { imageSize: 8, patchSize: 4, channels: 1, dim: 8, heads: 1, dimHead: 8, mlpDim: 8, classes: 5 }

function modelOf(config: PartialConfig<'paraformer'> = {}, seed = 1): Model {
  device.random.seed = seed
  return createModel({ architecture: 'paraformer', branches: 2, branchDepth: 1, ...SIZES, ...config })
}

async function valuesOf(model: Model): Promise<Map<string, number[]>> {
  const found = model.namedParameters().map(async ([name, t]) => [name, Array.from(await t.data())] as const)
  return new Map(await Promise.all(found))
}

const source = modelOf()
const values = await valuesOf(source)
const checkpoint: Checkpoint = {
  path: 'old.safetensors',
  config: source.config,
  data: undefined,
  parameters: new Map(
    source.namedParameters().map(([name, { shape }]) => {
      return [name, { dtype: 'F32', shape: [...shape], data: Float32Array.from(values.get(name)!) }]
    }),
  ),
}

/** Loads the checkpoint into a fresh model of another seed. @returns its parameters before and after */
async function tuned(config: PartialConfig<'paraformer'>) {
  const model = modelOf(config, 2)
  const before = await valuesOf(model)
  loadInitial(model, checkpoint)
  return { before, after: await valuesOf(model) }
}

test('a model of the same config gets every parameter', async () => {
  const { after } = await tuned({})
  assert.equal(after, values)
})

test('with other classes the last layer of the head stays fresh, and all else is taken', async () => {
  const { before, after } = await tuned({ classes: 3 })
  for (const [name, found] of after) {
    const fresh = name.startsWith('head.linear.')
    assert.equal(found, fresh ? before.get(name) : values.get(name), name)
  }
  assert.is(after.get('head.linear.weight')!.length, 3 * 8)
})

test('with another image size the position embedding is interpolated, and all else is taken', async () => {
  const { after } = await tuned({ imageSize: 16 })
  const position = after.get('posEmbedding')!
  assert.is(position.length, 17 * 8)
  const old = values.get('posEmbedding')!
  assert.equal(position.slice(0, 8), old.slice(0, 8), 'the row of the CLS token')
  // At the corners of the finer grid stand the values of the corners.
  for (const [to, from] of [
    [1, 1],
    [4, 2],
    [13, 3],
    [16, 4],
  ] as const) {
    assert.equal(position.slice(8 * to, 8 * to + 8), old.slice(8 * from, 8 * from + 8), `row ${to}`)
  }
  for (const [name, found] of after) if (name !== 'posEmbedding') assert.equal(found, values.get(name), name)
})

test('positions are interpolated as PyTorch does: bilinearly, at the centres of patches', () => {
  // F.interpolate([[1, 2], [3, 4]], size=4, mode='bilinear', align_corners=False), in the second of two columns.
  const entry = { dtype: 'F32' as const, shape: [1, 5, 2], data: Float32Array.of(9, 8, 0, 1, 0, 2, 0, 3, 0, 4) }
  const { shape, data } = resizePositions(entry, 17)
  const second = Array.from(data as Float32Array).filter((_, i) => i % 2 === 1)
  assert.equal([...shape], [1, 17, 2])
  assert.equal(second, [8, 1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4])
  assert.is(data[0], 9)
  assert.is(resizePositions(entry, 5), entry)
})

test('what else differs is told in one line, and the model stays as it is', async () => {
  for (const [config, message] of [
    [{ dim: 16 }, /old\.safetensors: its model has dim 8, the settings say 16; leave --dim out, or set it alike/],
    [{ branches: 3 }, /its model has branches 2, the settings say 3; leave --branches out/],
    [{ residual: 'preNorm' }, /its model has residual paper, the settings say "preNorm"/],
    [{ channels: 3 }, /its model takes images of 1 channels, the data set has 3; choose another --dataset or --init-from/],
  ] as const) {
    const model = modelOf(config, 2)
    const before = await valuesOf(model)
    throws(() => loadInitial(model, checkpoint), message, UserError)
    throws(() => checkInitial(checkpoint, model.config), message, UserError)
    assert.equal(await valuesOf(model), before)
  }
  checkInitial(checkpoint, { ...(source.config as ModelConfig), classes: 2, imageSize: 12, dropout: 0.5 })
  assert.equal(settingsLike(checkpoint).dim, 8)
  assert.not.ok('imageSize' in settingsLike(checkpoint))
})

test('the command line begins with the parameters and the model settings of the file, and says in settings.json which', async () => {
  const few = ['--train-images', '32', '--test-images', '32', '--batch-size', '16', '--mode', 'serial']
  const shape = ['--dim', '8', '--heads', '1', '--dim-head', '8', '--mlp-dim', '8', '--patch-size', '14', '--branches', '3']
  const [first, second] = [join(work, 'first'), join(work, 'second')]
  const trained = await runHere(['train', ...shape, ...few, '--out', first])
  assert.is(trained.code, 0, trained.stderr)
  const model = join(first, 'model.safetensors')
  // A rate of almost 0 leaves the parameters as they were.
  const frozen = ['--lr', '1e-12', '--weight-decay', '0', '--image-size', '56', '--max-steps', '1']
  const { code, stderr } = await runHere(['train', '--init-from', model, ...few, ...frozen, '--out', second])
  assert.is(code, 0, stderr)
  const tensorsOf = (path: string) => decodeSafetensors(readFileSync(path), path).tensors
  const [a, b] = [tensorsOf(model), tensorsOf(join(second, 'model.safetensors'))]
  assert.is(a.size, b.size)
  for (const [name, { shape, data }] of b) {
    if (name === 'posEmbedding') assert.equal([...shape], [1, 17, 8])
    else {
      const error = Math.max(
        ...Array.from(data as Float32Array, (x, i) => Math.abs(x - (a.get(name)!.data as Float32Array)[i]!)),
      )
      assert.ok(error < 1e-9, `${name} moved by ${error}`)
    }
  }
  const { initFrom, settings } = JSON.parse(readFileSync(join(second, 'settings.json'), 'utf8'))
  assert.equal([initFrom, settings.dim, settings.branches], [model, 8, 3])
  await expectUserError(
    ['train', '--init-from', model, ...few, '--dim', '16'],
    /its model has dim 8, the settings say 16; leave --dim out/,
  )
  await expectUserError(['train', '--init-from', join(work, 'none')], /none: no such file/)
  await expectUserError(
    ['train', '--resume', first, '--init-from', model],
    /--init-from is fixed by the run that --resume goes on with/,
  )
})

test('ends', () => {
  device.destroy()
  rmSync(work, { recursive: true })
})
run()
