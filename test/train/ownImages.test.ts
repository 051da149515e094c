import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { CLASSES, writeFolder } from './ownFolder.ts'

// A folder of one's own images on the command line: it trains, resumes, evaluates, compresses and predicts.
const { test, run } = suite('own images')
const work = mkdtempSync(join(tmpdir(), 'paraformer-own-'))
const dir = join(work, 'flowers')
await writeFolder(dir)

const TINY = [
  ...['--dim', '8', '--heads', '1', '--dim-head', '8', '--mlp-dim', '8', '--patch-size', '7', '--branches', '2'],
  ...['--batch-size', '8', '--epochs', '1', '--warmup', '3', '--dropout', '0.2', '--seed', '7', '--mode', 'serial', '--flip'],
]
const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'))

async function paraformer(...args: string[]) {
  const result = await runHere(args)
  if (result.code !== 0) throw new Error(`${args.join(' ')}: ${result.code}: ${result.stderr}`)
  return result
}

const train = (name: string, ...args: string[]) =>
  paraformer('train', '--dataset', 'images', '--data-dir', dir, ...TINY, '--out', join(work, name), ...args)

test('a folder of 12 classes trains', async () => {
  const { stderr } = await train('whole')
  assert.match(stderr, /images, 12 classes, \[3, 14, 14\]: 60 training images, 12 of test/)
  const { dataset, model } = json(work, 'whole', 'settings.json')
  assert.equal([dataset.name, dataset.trainImages, dataset.testImages], ['images', 60, 12])
  assert.equal(Object.keys(dataset.sha256), [...CLASSES])
  assert.equal([model.classes, model.channels, model.imageSize], [12, 3, 14])
  const { metadata } = decodeSafetensors(readFileSync(join(work, 'whole', 'model.safetensors')), 'model')
  const { mean, classNames, own } = JSON.parse(metadata.data!)
  assert.equal([mean.length, classNames, own], [3, [...CLASSES], { seed: 7, testShare: 0.2 }])
})

test('ends', () => rmSync(work, { recursive: true }))
run()
