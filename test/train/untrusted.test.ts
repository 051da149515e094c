import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requestDevice, UserError } from '../../engine/index.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { decodeSafetensors, encodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { readCheckpoint, readRun, saveCheckpoint } from '../../train/run/checkpoint.ts'
import { openData } from '../../train/run/data.ts'
import { configOf, startTrainer } from '../../train/run/start.ts'
import { checkSettings } from '../../train/settings.ts'
import { expectUserError } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const { test, run } = suite('untrusted checkpoints')
const work = mkdtempSync(join(tmpdir(), 'paraformer-untrusted-'))
const path = join(work, 'checkpoint.safetensors')
const device = await requestDevice()
const settings = checkSettings({
  ...{ dim: 16, heads: 2, dimHead: 8, mlpDim: 16, patchSize: 14, branches: 2, mode: 'serial', scheme: 'paper' },
  ...{ trainImages: 64, testImages: 32, batchSize: 32, epochs: 2 },
})
const data = await openData(settings)
const options = { saveEvery: 1000 }

/** Makes a checkpoint in the middle of the second pass, which the tests below spoil. */
async function makeCheckpoint(): Promise<Uint8Array> {
  const trainer = await startTrainer(device, settings, data, options)
  await trainer.run({
    shouldStop: () => trainer.position.step === 7,
    async onSave() {
      const { model, optimizer } = await trainer.saved()
      await saveCheckpoint(path, model, optimizer, trainer.state(), data.info)
    },
  })
  return readFileSync(path)
}

const whole = await makeCheckpoint()
const { tensors, metadata } = decodeSafetensors(whole, path)

/**
 * Reads a checkpoint as eval, predict and `train --resume` do.
 * @returns the message of a UserError, or undefined without an error
 */
async function take(bytes: Uint8Array, what: string): Promise<string | undefined> {
  writeFileSync(path, bytes)
  const begin = performance.now()
  const memory = process.memoryUsage().rss
  const message = await tryToTake(what)
  const [seconds, grown] = [(performance.now() - begin) / 1000, process.memoryUsage().rss - memory]
  if (seconds > 20 || grown > 2 ** 28) throw new Error(`${what}: ${seconds} s, ${grown} bytes`)
  return message
}

async function tryToTake(what: string): Promise<string | undefined> {
  try {
    await readCheckpoint(path)
    const from = await readRun(path)
    configOf(from.state.settings, data, from)
    // Changed settings may be valid too; then their training is not started.
    if (JSON.stringify(from.state.settings) === JSON.stringify(settings)) {
      const trainer = await startTrainer(device, settings, data, options, from)
      for (const parameter of trainer.parts.model.parameters()) parameter.dispose()
      trainer.parts.optimizer.dispose()
    }
    return undefined
  } catch (error) {
    if (!(error instanceof UserError) || /[\n\r\u2028]/.test(error.message))
      throw new Error(`${what}: ${(error as Error).stack}`)
    if (error.message.length > 1000) throw new Error(`${what}: a message of ${error.message.length} characters`)
    return error.message
  }
}

function spoiled(changes: Record<string, unknown>): Uint8Array {
  const texts = Object.entries({ ...metadata, ...changes }).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
  ])
  return encodeSafetensors(tensors, Object.fromEntries(texts))
}

/** A copy of JSON with another value at a path; undefined leaves out the key. */
function changed(json: unknown, at: readonly (string | number)[], value: unknown): unknown {
  const copy = structuredClone(json) as Record<string | number, unknown>
  const inner = at.slice(0, -1).reduce<any>((object, key) => object[key], copy)
  if (value === undefined && !Array.isArray(inner)) delete inner[at.at(-1)!]
  else inner[at.at(-1)!] = value
  return copy
}

/** The paths of all values in JSON; of long lists and maps only the first. */
function places(json: unknown, around: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof json !== 'object' || json === null) return []
  return Object.entries(json)
    .slice(0, around[0] === 'settings' ? 100 : 4)
    .concat(around.length === 0 ? Object.entries(json).slice(4) : [])
    .flatMap(([key, value]) => {
      const at = [...around, Array.isArray(json) ? Number(key) : key]
      return [at, ...places(value, at)]
    })
}

const VALUES = [undefined, null, 7, -1, 1.5, 1e9, 1e308, '', 'x', true, [], {}, [null], ['__proto__'], { length: 1e9 }]

test('the checkpoint itself is taken', async () => equal(await take(whole, 'whole'), undefined, 'error'))

for (const key of ['config', 'data', 'training']) {
  test(`metadata ${key}: another value in any place is taken or refused in one line that names the file`, async () => {
    const json = JSON.parse(metadata[key]!)
    let refused = 0
    let all = 0
    for (const at of places(json)) {
      for (const [i, value] of VALUES.entries()) {
        // Only a third of the combinations are tried, so that every path gets some values, and every value some paths.
        if (at.length > 1 && (i + all) % 3 > 0 && value !== null) continue
        all++
        const message = await take(
          spoiled({ [key]: changed(json, at, value) }),
          `${key}.${at.join('.')} ${JSON.stringify(value)}`,
        )
        if (message === undefined) continue
        refused++
        if (!message.startsWith(`${path}: `) && !message.startsWith('the run is at mini-batch')) throw new Error(message)
      }
    }
    if (!(refused > all / 2)) throw new Error(`${refused} of ${all} were refused`)
  })
}

test('bytes of the header are changed', async () => {
  const header = 8 + Number(new DataView(whole.buffer, whole.byteOffset).getBigUint64(0, true))
  for (let round = 0; round < 300; round++) {
    const random = new CounterRandom(11, [round, 0, 0])
    const bytes = whole.slice()
    for (let n = 0; n <= random.below(3); n++) bytes[random.below(header)] = random.below(256)
    await take(bytes, `round ${round}`)
  }
})

test('texts that are no JSON, or nested without end', async () => {
  for (const key of ['config', 'data', 'training']) {
    for (const text of [
      '',
      '{',
      'null',
      '[]',
      '7',
      '"x"',
      '[['.repeat(50_000) + ']]'.repeat(50_000),
      `{"a":${metadata[key]}`,
    ]) {
      const message = await take(spoiled({ [key]: text }), `${key} ${text.slice(0, 20)}`)
      if (!message?.startsWith(`${path}: the m`)) throw new Error(`${key} ${text.slice(0, 20)}: ${message}`)
    }
  }
})

test('a config asks for no more than the file holds', async () => {
  const config = JSON.parse(metadata.config!)
  for (const [change, expected] of [
    [{ branches: 1e9 }, /branches 1000000000 is not a positive integer of at most/],
    [{ branches: 4096, branchDepth: 4 }, /missing branches\.0\.layers\.1\.norm1\.weight.* and \d+ more/],
    [{ branches: 1 }, /unknown branches\.1\.layers/],
    [{ dim: 65536 }, /embed\.weight is \[16, 196\], the model has \[65536, 196\]/],
    [{ mlpDim: 2 ** 20 }, /mlp\.fc1\.weight is \[16, 16\], the model has \[1048576, 16\]/],
    [{ imageSize: 2800 }, /posEmbedding is \[1, 5, 16\]/],
    [{ classes: 2 ** 20 }, /head\.linear\.weight is \[10, 16\]/],
    [{ architecture: 'vit' }, /unknown model config key branches/],
  ] as const) {
    const message = await take(spoiled({ config: { ...config, ...change } }), JSON.stringify(change))
    if (!message || !expected.test(message)) throw new Error(`${JSON.stringify(change)}: ${message}`)
  }
})

test('a training state that contradicts itself is refused by name', async () => {
  const training = JSON.parse(metadata.training!)
  for (const [change, expected] of [
    [{ history: [null] }, /metadata training is malformed: history\.0 is null, not an object/],
    [{ variants: { device: 'x', answers: null } }, /variants\.answers is null, not an object/],
    [{ position: { ...training.position, pass: 7 } }, /position\.pass is 7, not 1, in 2 passes of 2 mini-batches an epoch/],
    [{ position: { ...training.position, batch: 2 } }, /position\.batch is 2, not 1/],
    [{ position: { ...training.position, step: 8 } }, /position\.step is 8, not 7/],
    [{ position: { ...training.position, updates: 0 } }, /position\.updates is 0, not \d+/],
    [{ history: [{ epoch: 0, images: 1, losses: [1], accuracies: [1] }] }, /history\.0 has 1 losses and 1 accuracies, not 2/],
    [{ steps: {} }, /it lacks steps\.embed\.weight/],
    [{ lossScale: { scale: -1, steady: 0 } }, /lossScale\.scale is -1, not a number of at least 0/],
    [{ lossScale: { scale: 0, steady: 0 } }, /lossScale\.scale is 0, not a number from 2\^-126 to 2\^126/],
    [{ lossScale: { scale: 1e200, steady: 0 } }, /lossScale\.scale is 1e\+200, not a number from 2\^-126/],
    [{ lossScale: { scale: 1, steady: 1e9 } }, /lossScale\.steady is 1000000000, not a whole number of at most 2\^24/],
    [{ random: { seed: 2 ** 60, counter: 0 } }, /random\.seed is 1152921504606847000, not a whole number/],
    [{ settings: { ...training.settings, dim: 32 } }, /its model has dim 16, its settings and data mean 32/],
    [{ settings: [1] }, /settings is \[1\], not an object/],
    [{ seconds: 'x' }, /seconds is "x", not a number/],
  ] as const) {
    const message = await take(spoiled({ training: { ...training, ...change } }), JSON.stringify(change))
    if (!message || !expected.test(message)) throw new Error(`${JSON.stringify(change)}: ${message}`)
  }
  const message = await take(
    encodeSafetensors(new Map([...tensors].filter(([name]) => name !== 'optimizer.m.clsToken')), metadata),
    'moment',
  )
  if (!message?.includes('lacks optimizer.m.clsToken of F32 [1, 1, 16]')) throw new Error(message)
})

test('losses that were not finite come back as they were', async () => {
  const training = JSON.parse(metadata.training!)
  const history = [{ epoch: 0, images: 32, losses: [null, 2], accuracies: [0.5, 0.5] }]
  writeFileSync(path, spoiled({ training: { ...training, history } }))
  equal(Number.isNaN((await readRun(path)).state.history[0]!.losses[0]), true, 'NaN')
})

test('the commands end with code 2 and one line', async () => {
  const [config, training] = [metadata.config!, metadata.training!].map((text) => JSON.parse(text))
  const folder = join(work, 'run')
  mkdirSync(folder)
  const file = join(folder, 'checkpoint.safetensors')
  const input = join(work, 'input.safetensors')
  writeFileSync(
    input,
    encodeSafetensors(new Map([['images', { dtype: 'F32', shape: [1, 1, 28, 28], data: new Float32Array(784) }]])),
  )
  writeFileSync(file, spoiled({ config: { ...config, branches: 1e9 } }))
  await expectUserError(
    ['predict', '--checkpoint', file, '--input', input, '--output', join(work, 'out')],
    /branches 1000000000/,
  )
  await expectUserError(['eval', '--checkpoint', file], /branches 1000000000/)
  await expectUserError(['train', '--resume', folder], /branches 1000000000/)
  for (const [change, expected] of [
    [{ history: [null] }, /history\.0 is null/],
    [{ variants: { device: 'x', answers: null } }, /variants\.answers is null/],
    [{ position: { ...training.position, pass: 7 } }, /position\.pass is 7/],
  ] as const) {
    writeFileSync(file, spoiled({ training: { ...training, ...change } }))
    await expectUserError(['train', '--resume', folder], expected)
  }
})

test('a history of a length that no run has', async () => {
  const training = JSON.parse(metadata.training!)
  const evaluation = { epoch: 0, images: 1, losses: [1, 1], accuracies: [1, 1] }
  equal(
    await take(spoiled({ training: { ...training, history: Array(200_000).fill(evaluation) } }), 'history'),
    undefined,
    'error',
  )
})

test('ends', async () => {
  await Promise.all([data.train.close(), data.evaluation.close()])
  device.destroy()
  rmSync(work, { recursive: true })
})
run()
