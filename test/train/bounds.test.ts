import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command, Option } from 'commander'
import { benchCommand } from '../../bench/command.ts'
import { shapedTarget } from '../../bench/opTargets.ts'
import { UserError } from '../../engine/base/errors.ts'
import { CONFIG_LIMITS, checkConfig, DEFAULT_CONFIGS } from '../../model/config.ts'
import { makeProgram } from '../../train/cli/program.ts'
import { BatchLoader } from '../../train/data/loader.ts'
import { PRESETS } from '../../train/presets.ts'
import { evaluationBatch } from '../../train/run/loaders.ts'
import { checkMemory } from '../../train/run/memory.ts'
import { checkSettings, flagOf, modelConfigOf, SETTINGS, type Settings } from '../../train/settings.ts'
import { expectUserError } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { throws } from './userError.ts'

// Batches may be as large as the whole data set.
delete process.env.PARAFORMER_DATA
const { test, run } = suite('bounds')
const GIB = 2 ** 30

test('every setting that is a number has a lower and an upper bound, which hold', () => {
  for (const [name, setting] of Object.entries(SETTINGS)) {
    if (setting.kind !== 'whole' && setting.kind !== 'number') continue
    const { min, max } = setting
    const message = new RegExp(`^${flagOf(name)} \\S+ is not a (whole )?number from ${min} to [\\d.e+]+$`)
    const steps = [min - Math.max(1, Math.abs(min)) / 2, 2 * max + 1, 1e300, -1e300, Number.NaN, Number.POSITIVE_INFINITY]
    for (const value of steps) throws(() => checkSettings({ [name]: value }), message, UserError)
    if (setting.kind === 'whole') throws(() => checkSettings({ [name]: min + 0.5 }), message, UserError)
  }
  for (const { settings } of Object.values(PRESETS)) checkSettings(settings)
})

/** All options of a command and of its subcommands, with their names. */
function optionsOf(command: Command): [string, Option][] {
  const own = command.options.map((option): [string, Option] => [`${command.name()} ${option.long}`, option])
  return [...own, ...command.commands.flatMap(optionsOf)]
}

/** Flags of shares, points, seeds and lists, which their commands check: the tests of `compress`, `expand` and studies have cases of each. */
const CHECKED_LATER = [
  'compress --tolerance',
  'compress --thresholds',
  'expand --class-seed',
  'expand --replay',
  'run --arms',
  'run --seeds',
  'worker --study',
  'up --study',
]

test('every flag that takes a number is bounded', () => {
  const parsed = optionsOf(makeProgram([benchCommand()])).filter(([, { parseArg, argChoices }]) => parseArg && !argChoices)
  const own = parsed.filter(([, option]) => !Object.hasOwn(SETTINGS, option.attributeName()))
  const flags = own.map(([name]) => name)
  for (const name of [
    'train --save-every',
    'predict --top',
    'eval --images',
    'bench --time',
    'streams --devices',
    'streams --batch',
  ]) {
    if (!flags.includes(name)) throw new Error(`${name} is not among ${flags.join(', ')}`)
  }
  for (const name of CHECKED_LATER) if (!flags.includes(name)) throw new Error(`there is no ${name}`)
  const found: string[] = []
  for (const [name, option] of own) {
    if (CHECKED_LATER.includes(name)) continue
    // Port 0 stands for any that is free, and a fleet may have no workers of its own.
    for (const value of [
      ...(['web --port', 'up --workers'].includes(name) ? [] : ['0']),
      '-1',
      '1.5',
      '1e18',
      '1e300',
      'Infinity',
      'NaN',
      '99999999999',
      '',
    ]) {
      let taken: unknown
      try {
        taken = option.parseArg!(value, undefined as never)
      } catch (error) {
        if ((error as { code?: string }).code === 'commander.invalidArgument') continue
        throw error
      }
      found.push(`${name} takes ${value} as ${taken}`)
    }
  }
  equal([...new Set(found.map((line) => line.split(' takes ')[0]))], [], 'flags')
})

test('lists of numbers are bounded', () => {
  throws(
    () => checkSettings({ randAugment: [1e9, 2] }),
    /RandAugment operations 1000000000 is not a whole number from 0 to 100/,
  )
  throws(() => checkSettings({ randAugment: [2, 31] }), /magnitude 31 is not between 0 and 30/)
  throws(() => checkSettings({ randAugment: [-1, 2] }), /RandAugment operations -1/)
  throws(() => checkSettings({ prefixWeights: [1, 1, 1, 1e30] }), /--prefix-weights .* must not be above 1000000/)
})

test('a model is bounded field by field and as a whole', () => {
  const { paraformer, vit, ensemble } = DEFAULT_CONFIGS
  for (const [field, most] of Object.entries(CONFIG_LIMITS)) {
    const base = [paraformer, vit, ensemble].find((config) => Object.hasOwn(config, field))
    for (const value of [most + 1, 1e9, 2 ** 31, 1e300, 0, -1]) {
      throws(
        () => checkConfig({ ...base, [field]: value }),
        new RegExp(`^${field} \\S+ is not a positive integer of at most ${most}`),
        UserError,
      )
    }
  }
  throws(
    () => checkConfig({ ...paraformer, branches: 4096, branchDepth: 4096 }),
    /16777216 encoder layers are more than 16384/,
    UserError,
  )
  throws(
    () => checkConfig({ ...vit, imageSize: 8192, patchSize: 1 }),
    /67108865 tokens .* lower imageSize or raise patchSize/,
    UserError,
  )
  throws(
    () => checkConfig({ ...vit, dim: 65536, mlpDim: 2 ** 20 }),
    /elements of one parameter are more than 536870912/,
    UserError,
  )
  throws(() => checkConfig({ ...vit, dim: 16384, mlpDim: 32768, depth: 64 }), /parameters are more than 8589934592/, UserError)
  // Large models stay possible: ViT-22B's width, a thousand branches, images of megapixels.
  checkConfig({ ...vit, dim: 6144, heads: 48, dimHead: 128, mlpDim: 24576, depth: 16 })
  checkConfig({ ...paraformer, branches: 1000 })
  checkConfig({ ...vit, imageSize: 8192, patchSize: 16 })
})

const image = { channels: 1, height: 28, width: 28, mean: [0.5], std: [0.5] }
const split = { images: new Uint8Array(8 * 784), labels: new Uint8Array(8), count: 8 }

test('batches, augmentation and prefetch of a loader are bounded', () => {
  const make = (options: object) => () => new BatchLoader(image, split, { batchSize: 4, ...options })
  make({})()
  throws(make({ imageSize: 8192, batchSize: 5 }), /5 images \[1, 8192, 8192\] takes 1.3 GiB, more than 1; lower/, UserError)
  throws(make({ imageSize: 19600 }), /image size 19600 is not a whole number from 1 to 8192/, UserError)
  throws(make({ batchSize: 1e12 }), /batch size 1000000000000/, UserError)
  throws(make({ augment: { randAugment: { n: 1e9, magnitude: 2 } } }), /RandAugment operations 1000000000/, UserError)
  throws(make({ augment: { cropPadding: 29 } }), /crop padding 29 is not a whole number from 0 to 28/, UserError)
  throws(make({ prefetch: 1000 }), /prefetch 1000/, UserError)
  throws(make({ std: [0] }), /std \[0\] is not 1 numbers from 0.000001 to 1000000/, UserError)
  throws(make({ mean: [Number.NaN] }), /mean \[NaN\] is not 1 finite numbers/, UserError)
})

test('evaluation batches are smaller for large images', () => {
  equal(evaluationBatch(10_000, 1, 28), 250, 'MNIST')
  equal(evaluationBatch(100, 3, 224), 100, 'few images')
  equal(evaluationBatch(10_000, 3, 224), 250, 'the paper')
  equal(evaluationBatch(10_000, 3, 4096), 1, 'the largest')
})

test('a run that cannot fit is refused with what it takes and what there is', () => {
  const cifar = { height: 32, width: 32, channels: 3, classes: 10 }
  const check = (fields: Partial<Settings>, software: boolean, memory: number, images = 1e6) => {
    const settings = checkSettings(fields)
    return () => checkMemory(settings, modelConfigOf(settings, cifar), { software, images, memory })
  }
  for (const { settings } of Object.values(PRESETS)) {
    if (settings.dataset) check(settings, true, 32 * GIB)()
  }
  const large = { dim: 8192, mlpDim: 32768, heads: 64, dimHead: 128, depth: 10, architecture: 'vit' as const }
  throws(
    check(large, true, 64 * GIB),
    /^training takes at least 12\d GiB \(parameters .* there are 64.0 GiB; lower --batch-size/,
    UserError,
  )
  check(large, false, 64 * GIB)()
  const many = { batchSize: 65536, dim: 4096, branches: 64 }
  throws(check(many, true, 64 * GIB), /inputs of layers for 65536 images/, UserError)
  throws(check(many, false, 64 * GIB), /there are 1.02e\+3 GiB|there are 1\d+ GiB/, UserError)
  check({ ...many, accumulate: 65536 }, false, 64 * GIB)()
  check(many, true, 64 * GIB, 100)()
})

test('shapes of a bench are bounded', () => {
  for (const [name, shape] of [
    ['matmul', '100000x100000x100000'],
    ['matmul', '1x1x1x999999999'],
    ['softmax', '65536x65536'],
    ['attention', '64x64x4096x1024'],
    ['add', '2000000000'],
  ] as const) {
    throws(
      () => shapedTarget(name, shape),
      /--shape .*: an operand of \d+ numbers is more than 268435456; take smaller/,
      UserError,
    )
  }
  shapedTarget('matmul', '4096x4096x4096')
})

const folder = mkdtempSync(join(tmpdir(), 'paraformer-bounds-'))
const refuses = (title: string, args: string[], message: RegExp) =>
  test(title, async () => {
    const began = performance.now()
    await expectUserError(['train', '--out', join(folder, 'run'), ...args], message)
    if (!(performance.now() - began < 60_000)) throw new Error('it took too long')
  })
refuses('a billion operations of RandAugment', ['--rand-augment', '1000000000,2'], /RandAugment operations 1000000000/)
refuses('images of 19600 pixels', ['--image-size', '19600'], /--image-size 19600 is not a whole number from 1 to 8192/)
refuses(
  'a mini-batch of large images',
  ['--image-size', '4096', '--patch-size', '16'],
  /a mini-batch of 64 images \[1, 4096, 4096\] takes 4.0 GiB, more than 1; lower --batch-size or --image-size/,
)
refuses('a padding larger than the image', ['--crop-padding', '100'], /crop padding 100 is not a whole number from 0 to 28/)
refuses('a billion branches', ['--branches', '1000000000'], /--branches 1000000000 is not a whole number from 1 to 4096/)
refuses(
  'more activations than any machine holds',
  [...['--dim', '65536', '--heads', '1', '--dim-head', '1', '--mlp-dim', '1', '--branches', '64'], '--batch-size', '60000'],
  /training takes at least .* TiB|training takes at least [\d.e+]+ GiB .*inputs of layers for 60000 images/,
)
refuses(
  'more parameters than there can be',
  ['--dim', '32768', '--mlp-dim', '16384', '--branches', '64'],
  /parameters are more than 8589934592; lower dim/,
)

test('ends', () => {
  writeFileSync(join(folder, 'x'), '')
  rmSync(folder, { recursive: true })
})
run()
