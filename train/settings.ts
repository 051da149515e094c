import { refusal } from '../engine/base/checks.ts'
import { kindOf } from '../engine/base/kind.ts'
import { UserError } from '../engine/index.ts'
import type { AugmentOptions } from '../kernels/augment/index.ts'
import { CONFIG_LIMITS, withArticle } from '../model/config.ts'
import { type Architecture, checkConfig, MODES, type ModelConfig, PRECISIONS } from '../model/index.ts'
import { checkRandAugment } from './data/check.ts'
import { DATASET_KINDS, type DatasetShape } from './data/names.ts'
import { checkChannels, checkRecordShape, TEST_SHARES } from './data/own/options.ts'
import { MOMENTUM, OPTIMIZER_NAMES } from './optim/kindNames.ts'
import { SCHEDULE_NAMES } from './optim/schedule.ts'
import { SCHEME_NAMES, SCHEMES_OF, type SchemeName } from './schemes/index.ts'

/** A setting of a training run, which is a flag of the command line and a key in checkpoints. */
type Setting = { help: string; default?: unknown } & (
  | { kind: 'whole' | 'number'; min: number; max: number }
  | { kind: 'choice'; choices: readonly string[] }
  | { kind: 'boolean' }
  | { kind: 'text' }
  | { kind: 'numbers' }
)

/** The largest number of images or mini-batches of a run. */
export const MAX_COUNT = 2 ** 31 - 1

/** The largest number of images in a mini-batch. */
export const MAX_BATCH = 65536

/** The largest weight of a prefix loss, with which float32 holds the sum of all. */
const MAX_WEIGHT = 1e6

const ARCHITECTURES: readonly Architecture[] = ['paraformer', 'vit', 'ensemble']

/** All settings in the order in which help shows them. A missing default depends on the data set or on other settings. */
export const SETTINGS = {
  dataset: {
    kind: 'choice',
    choices: DATASET_KINDS,
    default: 'mnist',
    help: 'data set; or your own in --data-dir: images, a folder of PNG, JPEG, WebP and GIF files for each class; idx, files like those of MNIST; cifar-like, records like those of CIFAR-10',
  },
  dataDir: { kind: 'text', help: 'folder of its files' },
  download: { kind: 'boolean', default: false, help: 'fetch missing files from their official address' },
  testShare: {
    kind: 'number',
    ...TEST_SHARES,
    help: 'images: share of each class that --seed chooses for tests, unless --data-dir holds folders train and test (default: 0.2)',
  },
  skipBroken: { kind: 'boolean', help: 'images: leave out files that cannot be decoded' },
  channels: {
    kind: 'whole',
    min: 1,
    max: 3,
    help: 'images: 1 for gray or 3 for RGB, nothing else (default: 1 if every pixel of all images is gray)',
  },
  recordShape: {
    kind: 'numbers',
    help: 'cifar-like: channels,height,width of a record, which is a label byte and the pixels (default: 3,32,32)',
  },
  validation: {
    kind: 'number',
    min: 0,
    max: 0.9,
    default: 0,
    help: 'share of the training images held out; evaluated instead of the test images while training',
  },
  trainImages: { kind: 'whole', min: 1, max: MAX_COUNT, help: 'use only so many training images' },
  testImages: { kind: 'whole', min: 1, max: MAX_COUNT, help: 'evaluate on only so many images' },
  cropPadding: {
    kind: 'whole',
    min: 0,
    max: CONFIG_LIMITS.imageSize,
    default: 0,
    help: 'random crop after padding by so many pixels',
  },
  flip: { kind: 'boolean', default: false, help: 'random horizontal flip' },
  randAugment: { kind: 'numbers', help: 'RandAugment: operations,magnitude (the paper: 2,14)' },
  data: {
    kind: 'choice',
    choices: ['device', 'host'],
    help: 'where batches are made, with the same bits: device, which holds the bytes of the data set or, where it is too large, gets those of a batch; or host, as for several devices and images above 16 million values (default: device)',
  },

  architecture: { kind: 'choice', choices: ARCHITECTURES, default: 'paraformer', help: 'model' },
  imageSize: {
    kind: 'whole',
    min: 1,
    max: CONFIG_LIMITS.imageSize,
    help: 'resize images to so many pixels a side; of your own that are not square the shorter side, and the middle is cut out (default: as they are; with --dataset images the median of the shorter sides, at most 64, rounded down to a multiple of --patch-size)',
  },
  patchSize: { kind: 'whole', min: 1, max: CONFIG_LIMITS.patchSize, default: 4, help: 'pixels a side of a patch' },
  dim: { kind: 'whole', min: 1, max: CONFIG_LIMITS.dim, default: 64, help: 'width of the residual stream' },
  heads: { kind: 'whole', min: 1, max: CONFIG_LIMITS.heads, default: 4, help: 'attention heads' },
  dimHead: { kind: 'whole', min: 1, max: CONFIG_LIMITS.dimHead, default: 16, help: 'width of a head' },
  mlpDim: { kind: 'whole', min: 1, max: CONFIG_LIMITS.mlpDim, default: 128, help: 'hidden width of the MLP' },
  branches: { kind: 'whole', min: 1, max: CONFIG_LIMITS.branches, default: 4, help: 'parallel branches (paraformer)' },
  branchDepth: {
    kind: 'whole',
    min: 1,
    max: CONFIG_LIMITS.branchDepth,
    default: 1,
    help: 'layers of a branch (paraformer)',
  },
  depth: { kind: 'whole', min: 1, max: CONFIG_LIMITS.depth, default: 4, help: 'layers (vit, and each member of an ensemble)' },
  members: { kind: 'whole', min: 1, max: CONFIG_LIMITS.members, default: 4, help: 'vits whose logits are averaged (ensemble)' },
  residual: { kind: 'choice', choices: ['paper', 'preNorm'], default: 'paper', help: 'residual form' },
  pool: { kind: 'choice', choices: ['cls', 'mean'], default: 'cls', help: 'what the head reads' },
  dropout: { kind: 'number', min: 0, max: 0.999, default: 0.1, help: 'dropout of the embedded sequence' },

  scheme: { kind: 'choice', choices: SCHEME_NAMES, default: 'prefixSum', help: 'what is minimized' },
  hinge: {
    kind: 'number',
    min: 0,
    max: MAX_WEIGHT,
    default: 0,
    help: 'weight of a hinge that pushes each prefix loss below the one before (prefixSum)',
  },
  prefixWeights: { kind: 'numbers', help: 'weights of the prefix losses, one a branch (prefixSum; default all 1)' },
  epochs: { kind: 'whole', min: 1, max: 1e6, default: 1, help: 'passes over the training images' },
  maxSteps: { kind: 'whole', min: 1, max: MAX_COUNT, help: 'end after so many mini-batches' },
  batchSize: { kind: 'whole', min: 1, max: MAX_BATCH, default: 64, help: 'images of a mini-batch' },
  accumulate: {
    kind: 'whole',
    min: 1,
    max: MAX_BATCH,
    default: 1,
    help: 'parts in which a mini-batch is computed (less memory)',
  },
  mode: {
    kind: 'choice',
    choices: ['auto', ...MODES, 'devices'],
    default: 'auto',
    help: 'how branches run; auto measures the modes of one device, devices spreads them over several (see --devices), or copies a model without branches to several, each of which takes a slice of every mini-batch',
  },
  precision: {
    kind: 'choice',
    choices: PRECISIONS,
    default: 'f32',
    help: 'f32, or mixed: products and attention in float16; parameters, sums and losses in float32, with a loss scale (needs shader-f16)',
  },
  recompute: {
    kind: 'boolean',
    default: false,
    help: 'keep only the inputs of layers for backward and run them again for it (less memory, same bits)',
  },
  coalesce: {
    kind: 'whole',
    min: 1,
    max: CONFIG_LIMITS.branches,
    help: 'branches that mode coalesced joins at a time (less memory, more dispatches; default: all)',
  },
  optimizer: { kind: 'choice', choices: OPTIMIZER_NAMES, help: 'optimizer (default: adamW)' },
  momentum: { kind: 'number', min: 0, max: 0.9999, help: 'of sgd (default: 0.9) and muon (default: 0.95)' },
  lr: { kind: 'number', min: 1e-12, max: 1e30, default: 1e-3, help: 'peak learning rate' },
  schedule: { kind: 'choice', choices: SCHEDULE_NAMES, default: 'cosine', help: 'learning rate over time' },
  warmup: { kind: 'whole', min: 0, max: MAX_COUNT, default: 100, help: 'optimizer steps of warm-up' },
  weightDecay: { kind: 'number', min: 0, max: 1000, default: 0.05, help: 'weight decay, decoupled except for sgd' },
  maxNorm: { kind: 'number', min: 1e-12, max: 1e30, default: 1, help: 'clip the gradient to this global norm' },
  ema: {
    kind: 'number',
    min: 0,
    max: 0.999999,
    help: 'decay of an average of the weights, which is evaluated and saved as the model (default: none)',
  },
  seed: {
    kind: 'whole',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
    help: 'fixes initialization, data order, augmentation and dropout',
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS

/** Settings that a resumed run may change: its length, the place of its data, and how its branches run. */
export const RESUMABLE: readonly string[] = [
  'epochs',
  'maxSteps',
  'dataDir',
  'download',
  'data',
  'mode',
  'recompute',
  'coalesce',
] satisfies SettingName[]

type ValueOf<S> = S extends { kind: 'whole' | 'number' }
  ? number
  : S extends { kind: 'boolean' }
    ? boolean
    : S extends { kind: 'numbers' }
      ? number[]
      : S extends { choices: readonly (infer C)[] }
        ? C
        : string

/** The settings of a run, of which those without default may be missing. */
export type Settings = {
  [K in SettingName as (typeof SETTINGS)[K] extends { default: unknown } ? K : never]: ValueOf<(typeof SETTINGS)[K]>
} & {
  [K in SettingName as (typeof SETTINGS)[K] extends { default: unknown } ? never : K]?:
    | ValueOf<(typeof SETTINGS)[K]>
    | undefined
}

/**
 * Fills in defaults and checks every value.
 * @throws UserError in one line: which flag, what is wrong, what to do; ArgumentError unless `settings` is an object
 */
export function checkSettings(settings: Readonly<Partial<Record<SettingName, unknown>>>): Settings {
  if (typeof settings !== 'object' || settings === null || Symbol.iterator in settings)
    throw refusal('checkSettings', settings, 'an object of settings')
  const unknown = Object.keys(settings).find((name) => !Object.hasOwn(SETTINGS, name))
  if (unknown) throw new UserError(`unknown setting ${unknown}; known are ${Object.keys(SETTINGS).join(', ')}`)
  const complete: Record<string, unknown> = {}
  for (const [name, setting] of Object.entries(SETTINGS) as [SettingName, Setting][]) {
    const value = settings[name] ?? setting.default
    if (value !== undefined) complete[name] = checkSetting(setting, value, flagOf(name))
  }
  const checked = complete as Settings
  const { branches, members, coalesce, randAugment, prefixWeights, accumulate, batchSize } = checked
  const { architecture } = checked
  checkOwnSettings(checked)
  if (randAugment && randAugment.length !== 2) throw new UserError('--rand-augment takes two numbers, such as 2,14')
  if (randAugment) checkRandAugment(randAugment[0]!, randAugment[1]!)
  if (prefixWeights && prefixWeights.length !== branches) {
    throw new UserError(`--prefix-weights has ${prefixWeights.length} numbers for ${branches} branches; give one a branch`)
  }
  if (prefixWeights?.some((weight) => !(weight >= 0)) || prefixWeights?.every((weight) => weight === 0)) {
    throw new UserError('--prefix-weights must not be negative, nor all 0')
  }
  if (prefixWeights?.some((weight) => weight > MAX_WEIGHT)) {
    throw new UserError(
      `--prefix-weights ${prefixWeights.join()} must not be above ${MAX_WEIGHT}; only their ratios matter much`,
    )
  }
  if (accumulate > batchSize)
    throw new UserError(`--accumulate ${accumulate} is more than the ${batchSize} images of a batch; use less`)
  if (coalesce !== undefined && architecture === 'vit') throw new UserError('--coalesce needs branches; leave it out for a vit')
  const [joined, what] = architecture === 'ensemble' ? [members, 'members'] : [branches, 'branches']
  if (coalesce !== undefined && coalesce > joined)
    throw new UserError(`--coalesce ${coalesce} is more than the ${joined} ${what}; leave it out to join all`)
  const schemes = SCHEMES_OF[architecture]
  if (!schemes.includes(checked.scheme as SchemeName)) {
    if (architecture === 'paraformer')
      throw new UserError(`--scheme ${checked.scheme} needs --architecture vit; prefixSum is its like for branches`)
    if (settings.scheme !== undefined) {
      const trains = `train ${withArticle(architecture)} with --scheme ${schemes.join(' or ')}`
      throw new UserError(`--scheme ${checked.scheme} needs branches; ${trains}`)
    }
    checked.scheme = schemes[0]!
  }
  if (checked.mode === 'devices' && checked.scheme === 'greedy')
    throw new UserError('--scheme greedy freezes branches, which --mode devices cannot; use another mode')
  const { optimizer = 'adamW', momentum, ema = 0 } = checked
  if (momentum !== undefined && MOMENTUM[optimizer] === undefined)
    throw new UserError(`--momentum has no effect on --optimizer ${optimizer}; use it with sgd or muon`)
  if (checked.mode === 'devices' && architecture === 'paraformer' && (optimizer !== 'adamW' || ema > 0))
    throw new UserError('--mode devices takes --optimizer adamW without --ema; use another mode')
  if (checked.mode === 'devices' && checked.data === 'device')
    throw new UserError('--data device: in --mode devices the host makes the batches; use --data host or another mode')
  if (checked.hinge > 0 && checked.scheme !== 'prefixSum')
    throw new UserError(`--hinge has no effect on --scheme ${checked.scheme}; use it with prefixSum`)
  return checked
}

/** Settings of data sets of the user's own, with the format that has them. */
const OWN_SETTINGS = { testShare: 'images', skipBroken: 'images', channels: 'images', recordShape: 'cifar-like' } as const

/** @throws UserError for settings that the data set does not have, and for those of a wrong value */
function checkOwnSettings(settings: Settings): void {
  const { dataset, channels, recordShape } = settings
  for (const [name, format] of Object.entries(OWN_SETTINGS)) {
    const value = settings[name as keyof typeof OWN_SETTINGS]
    if (value === undefined || value === false || dataset === format) continue
    throw new UserError(`${flagOf(name)} has no effect on --dataset ${dataset}; use it with ${format}`)
  }
  checkChannels(channels)
  checkRecordShape(recordShape)
}

/** Checks the value of one setting alone. @param shown names it in the message @throws UserError in one line */
export function checkOneSetting(name: SettingName, value: unknown, shown: string): void {
  checkSetting(SETTINGS[name], value, shown)
}

function checkSetting(setting: Setting, value: unknown, shown: string): unknown {
  const fail = (needs: string): never => {
    throw new UserError(`${shown} ${kindOf(value)} is not ${needs}`)
  }
  if (setting.kind === 'choice') {
    return setting.choices.includes(value as string) ? value : fail(`one of ${setting.choices.join(', ')}`)
  }
  if (setting.kind === 'text') return typeof value === 'string' && value !== '' ? value : fail('a text')
  if (setting.kind === 'boolean') return typeof value === 'boolean' ? value : fail('true or false')
  if (setting.kind === 'numbers') {
    return Array.isArray(value) && value.length > 0 && value.every(Number.isFinite)
      ? value
      : fail('a list of numbers, such as 2,14')
  }
  const { kind, min, max } = setting
  const sound = kind === 'whole' ? Number.isSafeInteger(value) : typeof value === 'number'
  const inside = sound && (value as number) >= min && (value as number) <= max
  return inside ? value : fail(`a ${kind === 'whole' ? 'whole ' : ''}number from ${min} to ${max}`)
}

/** Returns the command-line flag of a setting: `batchSize` -> `--batch-size`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/**
 * Returns the config of the model for settings and a data set.
 * @param dataset the shape of the data set; undefined for one of the user's own that is not loaded
 * @throws UserError when they do not fit together, or the shape is unknown
 */
export function modelConfigOf(settings: Settings, dataset: DatasetShape | undefined): ModelConfig {
  const { patchSize, dim, heads, dimHead, mlpDim, branches, branchDepth, depth, members } = settings
  const { residual, pool, dropout } = settings
  const { architecture } = settings
  if (!dataset)
    throw new UserError(
      `the sizes of --dataset ${settings.dataset} are known when it is loaded; use a data set with a name here`,
    )
  const { channels, classes, height, width } = dataset
  if (height !== width && settings.imageSize === undefined) {
    throw new UserError(`images of ${height}x${width} are not square; choose a size with --image-size`)
  }
  const imageSize = settings.imageSize ?? height
  const shared = { imageSize, patchSize, channels, dim, heads, dimHead, mlpDim, classes, residual, pool, dropout }
  const own = { paraformer: { branches, branchDepth }, vit: { depth }, ensemble: { members, depth } }
  return checkConfig({ architecture, ...shared, ...own[architecture] })
}

/** Returns the augmentation of settings, or undefined for none. */
export function augmentOf({ cropPadding, flip, randAugment }: Settings): AugmentOptions | undefined {
  if (cropPadding === 0 && !flip && !randAugment) return undefined
  const [n, magnitude] = randAugment ?? []
  return {
    cropPadding,
    flip,
    ...(n !== undefined && magnitude !== undefined && { randAugment: { n, magnitude } }),
  }
}
