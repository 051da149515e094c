import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as assert from 'uvu/assert'
import { DeviceLostError, requestDevice } from '../../engine/index.ts'
import { createModel } from '../../model/index.ts'
import { saveSafetensors } from '../../train/checkpoint/files.ts'
import type { SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { gradients, imagesInMemory, predict } from '../../train/predict.ts'
import { runCli, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { EVERYWHERE, FROM, goesOn, type Loss, SETTINGS, train, whole } from './losses.ts'
import { assertSameBits, TINY, trainingOf } from './runs.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-lost-'))
const { test, slow, run } = suite('lost devices')

// lostDevice.slow.test.ts has the other modes, and all places.
test('a run that loses its device 4 times ends with the same bits', () =>
  goesOn(work, 'serial', { mode: 'serial' }, EVERYWHERE.slice(0, 4), FROM.slice(0, 4)))

test('two devices in one process: whichever is lost, wherever, the run ends with the same bits', async () => {
  await goesOn(
    work,
    'devices',
    { mode: 'devices' },
    [{ begin: 7, what: 'other' }, { evaluating: 250, what: 'other' }, { save: 10 }],
    [5, 5, 8],
  )
})

slow('two devices in two processes: one that is killed, and the first one lost, are replaced', async () => {
  await goesOn(
    work,
    'processes',
    { mode: 'devices', inProcess: false },
    [{ begin: 6, what: 'other' }, { evaluating: 250, what: 'other' }, { begin: 12 }],
    [5, 5, 10],
  )
})

test('what is lost while a trainer is made, or after all mini-batches, is made again', async () => {
  await goesOn(work, 'serial', { mode: 'serial' }, [{ start: true }, { start: true }, { save: 16 }], [0, 0, 15])
})

slow('three losses in a row without a mini-batch more end a run; its checkpoint is whole', async () => {
  const folder = join(work, 'three')
  const at7: Loss = { begin: 7 }
  const error = await train(folder, { mode: 'serial' }, [{ begin: 2 }, at7, at7, at7]).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, DeviceLostError)
  assert.equal(trainingOf(folder).position.step, 5)
  const resumed = await runHere(['train', '--resume', folder, '--save-every', '5'])
  assert.equal(resumed.code, 0, resumed.stderr)
  assertSameBits(folder, await whole(work, 'serial', { mode: 'serial' }))
})

const losing = (submits: number) => ({
  env: {
    NODE_OPTIONS: `--import ${pathToFileURL('test/harness/loseDevice.mjs')}`,
    LOSE_AFTER: String(submits),
  },
})

test('train: a driver that loses every device ends the run with exit code 1, and a line that says how to go on', async () => {
  const folder = join(work, 'command')
  const args = ['train', ...TINY, '--out', folder, '--save-every', '1', '--eager']
  const { code, stderr } = await runCli(args, losing(3))
  assert.equal(code, 1, stderr)
  const goesOn = [...stderr.matchAll(/^the device .* was destroyed; training goes on from mini-batch (\d+) on a new one$/gm)]
  assert.ok(goesOn.length >= 2, stderr)
  assert.match(stderr, /^3 devices were lost in a row without a mini-batch more done; .*$/m)
  assert.match(stderr, /^paraformer: the device .* was destroyed; request a new one and load a checkpoint$/m)
  assert.not.match(stderr, /^ +at /m)
})

test('a signal while devices are lost ends the run with its code', async () => {
  const folder = join(work, 'interrupted')
  let sent = false
  const { code, stderr } = await runCli(['train', ...TINY, '--out', folder, '--save-every', '1', '--eager'], {
    ...losing(3),
    onStderr(text, kill) {
      if (sent || !/training goes on/.test(text)) return
      sent = true
      kill('SIGTERM')
    },
  })
  assert.equal(code, 143, stderr)
  assert.match(stderr, /saved after mini-batch 0|mini-batches after the last save are lost; there is no checkpoint yet/)
  assert.not.match(stderr, /^ +at /m)
})

test('eval, predict and bench end with one line and exit code 1, and leave no part of a file', async () => {
  const model = ['--checkpoint', join(await whole(work, 'serial', { mode: 'serial' }), 'model.safetensors')]
  const [input, results] = [join(work, 'input.safetensors'), join(work, 'results')]
  const images: SafetensorsEntry = { dtype: 'F32', shape: [150, 1, 28, 28], data: new Float32Array(150 * 784) }
  await saveSafetensors(input, { images, labels: { dtype: 'I32', shape: [150], data: new Int32Array(150) } })
  const to = (name: string) => join(results, name)
  const commands = [
    ['eval', ...model, '--images', '1000', '--json'],
    ['eval', ...model, '--images', '1000', '--mode', 'devices', '--in-process'],
    ['predict', ...model, '--input', input, '--output', to('o.safetensors'), '--gradients', to('g.safetensors')],
    ['bench', 'softmax', '--quick', '--html', to('page.html'), '--history', to('history'), '--json'],
  ]
  for (const command of commands) {
    const { code, stdout, stderr } = await runCli(command, losing(4))
    const lines = stderr.split('\n').filter((line) => line !== '' && !/^(Warning: |WebGPU on |branches live on )/.test(line))
    const shown = `${command.join(' ')}: ${stderr}`
    assert.equal(code, 1, shown)
    assert.equal(lines.length, 1, shown)
    assert.match(lines[0]!, /^paraformer: the device .* was destroyed; request a new one and load a checkpoint$/)
    assert.equal(stdout, '', shown)
  }
  assert.equal(existsSync(results) ? readdirSync(results) : [], [], 'files')
})

test('predict and evaluate work on the device of the model, whichever is the default', async () => {
  const one = await requestDevice()
  const { dim, heads, dimHead, mlpDim, patchSize } = SETTINGS
  const sizes = { dim, heads, dimHead, mlpDim, patchSize, imageSize: 28, channels: 1, classes: 10, dropout: 0 }
  const model = createModel({ ...sizes, architecture: 'paraformer', branches: 2, branchDepth: 1 })
  const other = await requestDevice()
  other.destroy()
  const found = await predict(model, imagesInMemory(new Float32Array(784), 1))
  assert.ok(found.logits.length === 10 && found.logits.every(Number.isFinite))
  const labelled = { ...imagesInMemory(new Float32Array(784), 1), labels: new Int32Array(1) }
  assert.ok((await gradients(model, labelled)).size > 10)
  one.destroy()
})

test('ends', () => rmSync(work, { recursive: true }))
run()
