import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TuningDatabase } from '../../engine/autotune/database.ts'
import { extractTasks } from '../../engine/autotune/extractTasks.ts'
import { DeviceStore } from '../../engine/autotune/store.ts'
import { requestDevice } from '../../engine/index.ts'
import { runsOn } from '../../kernels/spec.ts'
import { createModel } from '../../model/index.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { AdamW } from '../../train/index.ts'
import { dryRun } from '../../train/run/dryRun.ts'
import { schemeOf } from '../../train/schemes/index.ts'
import { checkSettings, modelConfigOf } from '../../train/settings.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-tune-'))
const cache = join(work, 'cache')
const { test, run } = suite('--tune')
const device = await requestDevice()
process.env.XDG_CACHE_HOME = cache

const settings = checkSettings({
  dim: 16,
  heads: 2,
  dimHead: 8,
  mlpDim: 16,
  patchSize: 14,
  branches: 2,
  trainImages: 320,
  testImages: 32,
  batchSize: 32,
  mode: 'serial',
  seed: 7,
})
const flags = [
  ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '2'],
  ...['--train-images', '320', '--test-images', '32', '--batch-size', '32', '--mode', 'serial', '--seed', '7'],
  // With a constant rate, a run that is cut short has the same learning rates.
  ...['--schedule', 'constant', '--warmup', '0'],
]

/** Kernels that get another variant here than their default; its sums have another order, which changes bits. */
const OTHERS = ['matmul', 'layerNorm', 'layerNormBackward']

/** Stores tuning records with other variants than the defaults. @returns the variants by key */
async function keepOthers(): Promise<Record<string, string>> {
  const { height, width, channels, classes } = { height: 28, width: 28, channels: 1, classes: 10 }
  const model = createModel(modelConfigOf(settings, { height, width, channels, classes }))
  const optimizer = new AdamW(model.namedParameters())
  const answers = new TuningDatabase(await DeviceStore.open(device.summary))
  for (const problem of extractTasks(device, () => dryRun(device, model, optimizer, settings, schemeOf(settings.scheme)))) {
    const { spec } = problem
    const fallback = device.kernels.variant(spec, problem.problem)
    const runs = spec.variants.filter((variant) => runsOn(spec, variant, device.capabilities, problem.problem))
    const other = runs.find(({ name }) => name !== fallback.name && name !== 'tiled')
    if (!OTHERS.includes(spec.name) || !other) continue
    const ms = { [other.name]: 1, [fallback.name]: 2 }
    answers.add(problem, { fallback: fallback.name, variant: other.name, ms, dropped: {}, slow: {} })
  }
  await answers.save()
  return answers.variants().toJSON().answers
}

async function train(name: string, ...args: string[]): Promise<string> {
  const folder = join(work, name)
  const { code, stderr } = await runHere(['train', ...flags, '--out', folder, ...args])
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}, ${stderr}`)
  return stderr
}

function checkpoint(name: string): { bits: string; variants: Record<string, string> } {
  const path = join(work, name, 'checkpoint.safetensors')
  const { tensors, metadata } = decodeSafetensors(readFileSync(path), path)
  const hex = [...tensors].map(([key, { data }]) => {
    return `${key} ${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')}`
  })
  return { bits: hex.sort().join('\n'), variants: JSON.parse(metadata.training!).variants.answers }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

test('off takes none of the kept answers, cached takes them, and both say so in the checkpoint', async () => {
  const kept = await keepOthers()
  if (Object.keys(kept).length < 4) throw new Error(`only ${Object.keys(kept)}`)
  await train('off', '--tune', 'off')
  await train('cached')
  const [off, cached] = [checkpoint('off'), checkpoint('cached')]
  if (!same(off.variants, {}) || !same(cached.variants, kept)) throw new Error(JSON.stringify([off.variants, cached.variants]))
  if (off.bits === cached.bits) throw new Error('other variants gave the same bits')
})

test('a resumed run takes the variants that it began with, whatever is known by then', async () => {
  const folder = join(work, 'broken')
  await train('broken', '--max-steps', '5')
  rmSync(join(cache, 'paraformer', 'tuning'), { recursive: true })
  await expectUserError(['train', '--resume', folder, '--tune', 'full'], /--tune is fixed by the run/)
  const second = await runHere(['train', '--resume', folder, '--max-steps', '10'])
  if (second.code !== 0) throw new Error(second.stderr)
  const [whole, resumed] = [checkpoint('cached'), checkpoint('broken')]
  if (!same(whole.variants, resumed.variants)) throw new Error(`variants ${JSON.stringify(resumed.variants)}`)
  if (whole.bits !== resumed.bits) throw new Error('other bits')
})

test('full finds out what is not known, and cached then takes the same variants and gives the same bits', async () => {
  await keepOthers()
  const said = await train('full', '--tune', 'full')
  const [line, known, left] = /^tuning: \d+ shapes? of kernels in [\d.]+ s.*; (\d+) known before, (\d+) left/m.exec(said) ?? []
  if (!line || !(Number(known) >= 4)) throw new Error(said)
  const after = await train('after', '--tune', 'cached')
  if (after.includes('tuning:')) throw new Error(after)
  const [full, cached] = [checkpoint('full'), checkpoint('after')]
  if (!same(full.variants, cached.variants)) throw new Error(JSON.stringify([full.variants, cached.variants]))
  if (full.bits !== cached.bits) throw new Error('other bits')
  const again = await train('again', '--tune', 'full', '--max-steps', '1')
  const more = /; (\d+) known before/.exec(again)
  if (!(Number(more?.[1]) >= Number(known))) throw new Error(`${left} left: ${again}`)
})

test('eval and predict take it too; devices lists what is known', async () => {
  const model = join(work, 'full', 'model.safetensors')
  const { code, stderr } = await runHere(['eval', '--checkpoint', model, '--images', '32', '--tune', 'full'])
  if (code !== 0 || !/^tuning: /m.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
  await expectUserError(['predict', '--checkpoint', model, 'x.png', '--tune', 'sometimes'], /--tune.*off, cached, full/)
  const listed = await runHere(['devices', '--json'])
  const adapters = JSON.parse(listed.stdout) as { name: string; tuned: Record<string, { variant: string; sizes: number[] }> }[]
  const tuned = Object.entries(adapters.find(({ name }) => name === device.summary.name)?.tuned ?? {})
  if (!tuned.some(([key, { variant, sizes }]) => key.startsWith('matmul@') && variant && sizes.length > 2)) {
    throw new Error(listed.stdout.slice(0, 500))
  }
  const { stdout } = await runHere(['devices'])
  if (!/tuned {6}\d+ shapes of kernels, \d+ faster/.test(stdout) || !/matmul [\d ]+: \w+ 1\.00 ms/.test(stdout)) {
    throw new Error(stdout)
  }
})

test('ends', () => {
  device.destroy()
  rmSync(work, { recursive: true })
})

run()
