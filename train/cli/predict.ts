import { type Command, Option } from 'commander'

import { files, UserError } from '../../engine/index.ts'
import { CONFIG_LIMITS } from '../../model/config.ts'
import { checkPrefix, type Model } from '../../model/index.ts'
import { openSafetensors, saveSafetensors } from '../checkpoint/files.ts'
import { readImages } from '../data/images.ts'
import { normalizeInto, normalizeTables } from '../data/normalize.ts'
import { dryRunPrediction, gradients, type PredictOptions, predict, predictInput, ranked } from '../predict.ts'
import { type Checkpoint, readCheckpoint } from '../run/checkpoint.ts'
import { addModelFlags, type ModelFlags, modeOnDevice, withModel } from './device.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { imageInputs } from './imageInputs.ts'
import { count, makeCommand } from './options.ts'
import { printJson } from './printable.ts'
import { withProgress } from './progress.ts'
import { percent, table } from './table.ts'

interface PredictFlags extends ModelFlags {
  input?: string
  output?: string
  gradients?: string
  branches?: number
  top: number
}

/** Makes the command `paraformer predict`. */
export function predictCommand(): Command {
  const command = makeCommand('predict')
    .description('logits and features for a safetensors file of images, or the classes of image files')
    .argument(
      '[images...]',
      'PNG, JPEG, WebP or GIF files, folders of them, and - for standard input: an image, or a text with a path in each line. Colour profiles are not applied, transparent pixels are laid over black; what is not square is stretched, or cropped for a model of --dataset images, idx or cifar-like',
    )
    .requiredOption('--checkpoint <file>', 'checkpoint.safetensors or model.safetensors of a run')
    .option('--input <file>', 'safetensors file with `images` [B, C, H, W] float32, normalised')
    .option('--output <file>', 'safetensors file to write `logits` [B, classes] and `features` [B, D] to')
    .option(
      '--gradients <file>',
      "safetensors file to write every parameter's gradient of the mean cross-entropy to; needs `labels` [B] in the input",
    )
    .addOption(new Option('--branches <k>', 'use only the first k branches').argParser(count(CONFIG_LIMITS.branches)))
    .addOption(new Option('--top <n>', 'classes to print for an image').argParser(count(CONFIG_LIMITS.classes)).default(3))
  return addModelFlags(command).action(run)
}

async function run(images: string[], flags: PredictFlags): Promise<void> {
  const { input, output, gradients: gradientsPath } = flags
  if (images.length > 0 === (input !== undefined)) {
    throw new UserError('predict takes either --input FILE.safetensors or image files; give one of them')
  }
  if (input !== undefined && output === undefined && gradientsPath === undefined) {
    throw new UserError('predict --input needs --output or --gradients; name the file to write')
  }
  if (input === undefined && (output !== undefined || gradientsPath !== undefined)) {
    throw new UserError('predict: --output and --gradients go with --input; image files print their classes')
  }
  if (gradientsPath !== undefined && flags.precision !== 'f32') {
    throw new UserError('predict: --gradients are computed in float32; leave out --precision mixed')
  }
  const checkpoint = await readCheckpoint(flags.checkpoint)
  checkPrefix(checkpoint.config, flags.branches)
  const options: PredictOptions = { branches: flags.branches, mode: modeOnDevice(flags) }
  if (input === undefined) await classify(images, checkpoint, options, flags)
  else await predictFile(input, checkpoint, options, flags)
}

/** Predicts the images of a safetensors file and writes the results to others. */
async function predictFile(path: string, checkpoint: Checkpoint, options: PredictOptions, flags: PredictFlags): Promise<void> {
  const { output, gradients: gradientsPath, branches } = flags
  const { classes } = checkpoint.config
  await checkDistinctPaths(
    [
      ['--output', output],
      ['--gradients', gradientsPath],
    ],
    [
      ['--checkpoint', checkpoint.path],
      ['--input', path],
    ],
  )
  for (const to of [output, gradientsPath]) if (to !== undefined) await files.checkWritable(to)
  const file = await openSafetensors(path)
  try {
    const input = await predictInput(path, file, checkpoint.config, gradientsPath !== undefined)
    const dryRun = (model: Model) => dryRunPrediction(model, input.count, options)
    await withModel(checkpoint, flags, dryRun, async (model, distributed) => {
      const how = { ...options, distributed }
      if (output !== undefined) {
        const { logits, features } = await withProgress(input.count, (onDone) => predict(model, input, how, onDone))
        await saveSafetensors(output, {
          logits: { dtype: 'F32', shape: [input.count, classes], data: logits },
          features: { dtype: 'F32', shape: [input.count, features.length / input.count], data: features },
        })
      }
      if (gradientsPath !== undefined) await saveSafetensors(gradientsPath, await gradients(model, input, how))
    })
    if (flags.json) {
      printJson({ input: path, images: input.count, branches, output, gradients: gradientsPath })
    }
  } finally {
    await file.close()
  }
}

/** Prints the likeliest classes of image files. */
async function classify(words: string[], checkpoint: Checkpoint, options: PredictOptions, flags: PredictFlags): Promise<void> {
  const { path, config, data } = checkpoint
  if (!data) throw new UserError(`${path}: does not say how images are normalised; use a checkpoint that this project trained`)
  const { channels, imageSize, classes } = config
  const inputs = await imageInputs(words)
  const files = inputs.map((input) => (typeof input === 'string' ? input : input.name))
  // A model of images of one's own sees them as it did in training.
  const bytes = await readImages(inputs, channels, imageSize, data.own ? 'crop' : 'stretch')
  const tables = normalizeTables(data.mean, data.std)
  const pixels = channels * imageSize ** 2
  const images = {
    count: files.length,
    slice(from: number, to: number) {
      const out = new Float32Array((to - from) * pixels)
      for (let i = from; i < to; i++) {
        normalizeInto(out.subarray((i - from) * pixels), bytes.subarray(i * pixels, (i + 1) * pixels), tables)
      }
      return out
    },
  }
  const dryRun = (model: Model) => dryRunPrediction(model, files.length, options)
  const { logits } = await withModel(checkpoint, flags, dryRun, (model, distributed) =>
    withProgress(files.length, (onDone) => predict(model, images, { ...options, distributed }, onDone)),
  )
  if (!logits.every(Number.isFinite)) {
    throw new UserError(`${path}: gives logits that are not finite; its parameters are spoiled, use an earlier checkpoint`)
  }
  const results = files.map((file, i) => ({
    file,
    classes: ranked(logits.subarray(i * classes, (i + 1) * classes))
      .slice(0, flags.top)
      .map(([index, probability]) => ({ class: index, name: data.classNames?.[index] ?? String(index), probability })),
  }))
  if (flags.json) {
    printJson(results)
    return
  }
  const rows = results.map(({ file, classes: found }) => [
    file,
    ...found.map(({ name, probability }) => `${name} ${percent(probability)}`),
  ])
  console.log(table(['file', ...results[0]!.classes.map((_, i) => `${i + 1}.`)], rows))
}
