import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadSafetensors } from '../../train/checkpoint/files.ts'
import { expectUserError, runCli, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-compress-'))
const SMALL = [
  ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '32', '--patch-size', '14', '--mode', 'serial'],
  ...['--train-images', '1600', '--batch-size', '32', '--test-images', '50', '--lr', '0.01', '--warmup', '5'],
]
const { test, run } = suite('paraformer compress')

/** Runs a command that succeeds. @returns its output */
async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHere(args)
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}: ${stderr}`)
  return stdout
}

const folder = join(work, 'run')
await ok('train', ...SMALL, '--branches', '3', '--validation', '0.2', '--seed', '3', '--out', folder)
const model = join(folder, 'model.safetensors')
const compress = (...args: string[]) => ['compress', '--checkpoint', model, '--images', '300', '--batch', '2', ...args]

test('prefixes are those of eval, and the files are what is printed', async () => {
  const out = join(work, 'small')
  const found = JSON.parse(await ok(...compress('--out', out, '--tolerance', '5', '--dtype', 'float16', '--reorder', '--json')))
  equal(JSON.parse(readFileSync(join(out, 'compression.json'), 'utf8')), found, 'compression.json')
  equal(readdirSync(out).sort(), ['compressed.safetensors', 'compression.json'], 'files')
  const evaluated = JSON.parse(await ok('eval', '--checkpoint', model, '--images', '300', '--json'))
  equal(
    found.unordered.test,
    evaluated.prefixes.map((prefix: { accuracy: number }) => prefix.accuracy),
    'test accuracies',
  )
  equal(found.images, { validation: 300, test: 300 }, 'images')
  equal(Object.keys(found.prefixes[0].latencyMs), ['1', '2'], 'batches')
  // The written model is a checkpoint like any other.
  const { file, dtype, prefix, test } = found.written
  equal([file, dtype, prefix], [join(out, 'compressed.safetensors'), 'float16', found.chosen], 'written')
  const again = JSON.parse(await ok('eval', '--checkpoint', file, '--images', '300', '--json'))
  equal(again.prefixes.length, prefix, 'branches')
  equal(again.prefixes.at(-1).accuracy, test, 'accuracy of the written model')
  const { tensors } = await loadSafetensors(file)
  equal([...new Set([...tensors.values()].map((entry) => entry.dtype))], ['F16'], 'dtypes')
})

test('the images that the run held out choose, and a model of which that is not known says so', async () => {
  const checkpoint = join(folder, 'checkpoint.safetensors')
  const args = ['--images', '100', '--batch', '1', '--out', join(work, 'held'), '--json']
  const of = async (...more: string[]) => {
    const { code, stdout, stderr } = await runHere(['compress', ...args, ...more])
    if (code !== 0) throw new Error(stderr)
    return { found: JSON.parse(stdout), warned: stderr.includes('may have been trained on') }
  }
  const known = await of('--checkpoint', checkpoint)
  equal(known.found.validation, { validation: 0.2, seed: 3, heldOut: true }, 'split')
  equal(known.warned, false, 'warned')
  const other = await of('--checkpoint', checkpoint, '--seed', '4')
  equal([other.found.validation.heldOut, other.warned], [false, true], 'another split')
})

test('a table says what each prefix and each exit is worth', async () => {
  const stdout = await ok(...compress('--prefix', '2', '--thresholds', '0,0.5,1', '--out', join(work, 'table')))
  for (const line of [
    /^ *prefix +adds branch +validation +test +parameters/m,
    /^ *exit above/m,
    /2 of 3 branches in float32/,
  ]) {
    if (!line.test(stdout)) throw new Error(stdout)
  }
})

test('Ctrl-C ends it, and nothing is written', async () => {
  const out = join(work, 'interrupted')
  let sent = false
  const { code, stderr } = await runCli(['compress', '--checkpoint', model, '--out', out], {
    onStderr(text, kill) {
      if (sent || !/WebGPU on/.test(text)) return
      sent = true
      kill('SIGINT')
    },
  })
  if (code !== 128 + constants.signals.SIGINT || !/ended by SIGINT; nothing was written/.test(stderr))
    throw new Error(`code ${code}: ${stderr}`)
  equal(existsSync(out) ? readdirSync(out) : [], [], 'files')
})

/** Registers a test that the command fails with one line. */
function refuses(title: string, args: readonly string[], message: RegExp): void {
  test(title, () => expectUserError(args, message))
}

refuses('no checkpoint', ['compress'], /--checkpoint <file>' not specified; see paraformer compress --help/)
refuses('a checkpoint that is not there', ['compress', '--checkpoint', join(work, 'no')], /no: no such file/)
refuses('a tolerance below 0', compress('--tolerance', '-1'), /--tolerance -1 is not a number of points from 0 to 100/)
refuses('more branches than there are', compress('--prefix', '4'), /this paraformer has 3/)
refuses('a threshold above 1', compress('--thresholds', '0.5,2'), /--thresholds 2 is not a probability/)
refuses('a share of everything', compress('--validation', '1'), /--validation 1 is not a share/)
refuses('another data set', compress('--dataset', 'cifar-10', '--data-dir', work), /no such file/)
refuses(
  'results over the checkpoint',
  ['compress', '--checkpoint', join(work, 'small', 'compressed.safetensors')],
  /is the file of --checkpoint as well/,
)

test('a vit, and a model that learned nothing', async () => {
  const vit = join(work, 'vit')
  await ok('train', ...SMALL, '--architecture', 'vit', '--depth', '1', '--max-steps', '1', '--out', vit)
  const of = (folder: string) => ['compress', '--checkpoint', join(folder, 'model.safetensors'), '--images', '200']
  await expectUserError(of(vit), /is of a vit, which has no branches to leave out; use a paraformer/)
  const fresh = join(work, 'fresh')
  await ok('train', ...SMALL, '--branches', '2', '--max-steps', '1', '--lr', '1e-12', '--out', fresh)
  const { code, stderr } = await runHere(of(fresh))
  if (code !== 2 || !/no better than chance among 10 classes; train it first/.test(stderr))
    throw new Error(`${code}: ${stderr}`)
})

test('ends', () => rmSync(work, { recursive: true }))

run()
