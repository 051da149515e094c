import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/index.ts'
import { mergeSettings, readConfigFile } from '../../train/cli/configFile.ts'
import { PRESETS } from '../../train/presets.ts'
import { checkSettings } from '../../train/settings.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { rejects, throws } from './userError.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-config-'))
const path = join(work, 'settings of mine.json')
const { test, run } = suite('--config')

/** Writes a file of settings. @returns its path */
function file(content: unknown): string {
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

test('flags override the file, the file overrides the preset, the preset the defaults', async () => {
  const settings = await readConfigFile(file({ dim: 32, epochs: 3, prefixWeights: [1, 2, 3, 4] }))
  const merged = mergeSettings([PRESETS.quick!.settings], { path, settings }, { epochs: 5 })
  const { dim, epochs, patchSize, warmup, prefixWeights } = merged
  assert.equal([dim, epochs, patchSize, warmup, prefixWeights], [32, 5, 7, 100, [1, 2, 3, 4]])
})

test("a run's settings.json is taken as it is", async () => {
  const settings = checkSettings({ dim: 32, architecture: 'vit', depth: 2 })
  const read = await readConfigFile(file({ format: 1, settings, model: {}, dataset: {} }))
  assert.equal(mergeSettings([], { path, settings: read }, {}), settings)
})

test('what is wrong in the file is told in one line with its name and key', async () => {
  for (const [content, message] of [
    ['{', /mine\.json: is not JSON \(.*\); give an object/],
    [[], /mine\.json: the whole is \[\]; give an object/],
    [{ format: 1, settings: 3 }, /mine\.json: settings is 3; give/],
    [{ dimm: 3 }, /mine\.json: unknown setting "dimm" \(did you mean "dim"\?\); known are dataset/],
    [{ dim: 0 }, /mine\.json: dim 0 is not a whole number from 1 to/],
    [{ dim: '64' }, /mine\.json: dim "64" is not a whole number/],
    [{ dim: null }, /mine\.json: dim null is not a whole number/],
    [{ flip: 1 }, /mine\.json: flip 1 is not true or false/],
    [{ scheme: 'best' }, /mine\.json: scheme "best" is not one of joint/],
    [{ randAugment: '2,14' }, /mine\.json: randAugment "2,14" is not a list of numbers/],
  ] as const) {
    await rejects(readConfigFile(file(content)), message, UserError)
  }
  await rejects(readConfigFile(join(work, 'none')), /none: no such file/, UserError)
})

test('settings that do not go together name the file where the flags are not at fault', async () => {
  const config = { path, settings: await readConfigFile(file({ prefixWeights: [1, 2], branches: 3 })) }
  throws(() => mergeSettings([], config, {}), /mine\.json: prefixWeights has 2 numbers for 3 branches/, UserError)
  throws(() => mergeSettings([], config, { prefixWeights: [1] }), /^--prefix-weights has 1 numbers for 3 branches/, UserError)
  throws(() => mergeSettings([], undefined, { prefixWeights: [1] }), /^--prefix-weights has 1 numbers/, UserError)
  assert.is(mergeSettings([], config, { branches: 2 }).branches, 2)
})

test('the command line takes the file, and refuses it for a run that resumes', async () => {
  const small = { dim: 8, heads: 1, dimHead: 8, mlpDim: 8, patchSize: 14, branches: 2, mode: 'serial' }
  const config = file({ ...small, trainImages: 32, testImages: 32, batchSize: 16, maxSteps: 9 })
  const folder = join(work, 'run')
  const { code, stdout, stderr } = await runHere(['train', '--config', config, '--max-steps', '2', '--out', folder, '--json'])
  assert.is(code, 0, stderr)
  const { settings } = JSON.parse(stdout)
  assert.equal([settings.dim, settings.batchSize, settings.maxSteps], [8, 16, 2])
  await expectUserError(
    ['train', '--resume', folder, '--config', config],
    /--config is fixed by the run that --resume goes on with/,
  )
  await expectUserError(['train', '--config', file({ lr: -1 })], /mine\.json: lr -1 is not a number from/)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
