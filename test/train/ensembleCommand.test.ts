import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { requestDevice } from '../../engine/index.ts'
import { Ensemble } from '../../model/index.ts'
import { loadSafetensors } from '../../train/checkpoint/files.ts'
import { modelOf, readCheckpoint } from '../../train/run/checkpoint.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('ensembles on the command line')
const work = mkdtempSync(join(tmpdir(), 'paraformer-ensemble-'))
const SMALL = [
  ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--batch-size', '32'],
  ...['--train-images', '320', '--test-images', '100', '--epochs', '2', '--warmup', '3', '--seed', '7'],
  ...['--architecture', 'ensemble', '--members', '2', '--depth', '1'],
]

async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHere(args)
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}: ${stderr}`)
  return stdout
}

const folder = join(work, 'run')

test('an ensemble trains, is evaluated member by member, and its checkpoint makes the same model again', async () => {
  await ok('train', ...SMALL, '--out', folder)
  const { settings, model: config } = JSON.parse(readFileSync(join(folder, 'settings.json'), 'utf8'))
  assert.equal([settings.scheme, config.architecture, config.members], ['independent', 'ensemble', 2])
  const path = join(folder, 'model.safetensors')
  const { prefixes } = JSON.parse(await ok('eval', '--checkpoint', path, '--images', '100', '--json'))
  assert.is(prefixes.length, 2)
  const device = await requestDevice()
  const model = modelOf(await readCheckpoint(path))
  assert.instance(model, Ensemble)
  const { tensors } = await loadSafetensors(path)
  assert.is(tensors.size, model.namedParameters().length)
  for (const [name, parameter] of model.namedParameters()) {
    const { shape, data } = tensors.get(name)!
    assert.equal([...shape], [...parameter.shape], name)
    assert.equal([...(await parameter.data())], [...(data as Float32Array)], name)
  }
  device.destroy()
})

test('a run that ends early and is resumed has the bits of one that does not', async () => {
  const short = join(work, 'short')
  await ok('train', ...SMALL, '--schedule', 'constant', '--max-steps', '7', '--out', short)
  await ok('train', '--resume', short, '--max-steps', '20')
  const whole = join(work, 'whole')
  await ok('train', ...SMALL, '--schedule', 'constant', '--max-steps', '20', '--out', whole)
  const [a, b] = await Promise.all([short, whole].map((run) => loadSafetensors(join(run, 'model.safetensors'))))
  for (const [name, { data }] of a!.tensors) assert.equal(data, b!.tensors.get(name)!.data, name)
})

test('it can be fine-tuned at another image size', async () => {
  const finer = ['--init-from', join(folder, 'model.safetensors'), '--image-size', '42', '--max-steps', '2']
  const flags = SMALL.filter((flag, i) => !['--seed', '7'].includes(flag) && i < SMALL.length - 6)
  await ok('train', ...flags, ...finer, '--out', join(work, 'finer'))
  const { tensors } = await loadSafetensors(join(work, 'finer', 'model.safetensors'))
  assert.equal([...tensors.get('members.1.posEmbedding')!.shape], [1, 10, 16])
})

test('bad input: one line each', async () => {
  const train = (...more: string[]) => ['train', ...SMALL, '--out', join(work, 'no'), ...more]
  await expectUserError(train('--scheme', 'paper'), /train an ensemble with --scheme independent or joint/)
  await expectUserError(train('--coalesce', '3'), /--coalesce 3 is more than the 2 members/)
  const of = ['--checkpoint', join(folder, 'model.safetensors')]
  await expectUserError(['eval', ...of, '--mode', 'devices'], /an ensemble has no branches to spread/)
  await expectUserError(['compress', ...of], /is of an ensemble, which has no branches to leave out/)
  await expectUserError(['expand', ...of], /is of an ensemble, which has no branches to append/)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
