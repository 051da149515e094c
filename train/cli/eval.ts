import { type Command, Option } from 'commander'
import { files } from '#platform'
import { UserError } from '../../engine/index.ts'
import { countParameters } from '../../model/index.ts'
import type { Dataset } from '../data/dataset.ts'
import { dryRunEvaluation, evaluate, spoiledPrefixes, violations } from '../evaluate.ts'
import { type AttentionSample, sampleAttention, writeAttention } from '../run/attention.ts'
import { readCheckpoint } from '../run/checkpoint.ts'
import { evaluationBatch, evaluationLoader, first, trainingParts } from '../run/loaders.ts'
import { MAX_COUNT } from '../settings.ts'
import { addDataFlags, type DataFlags, dataOfCheckpoint } from './checkpointData.ts'
import { addModelFlags, type ModelFlags, modeOnDevice, withModel } from './device.ts'
import { count, makeCommand } from './options.ts'
import { printable, printJson } from './printable.ts'
import { withProgress } from './progress.ts'
import { compact, percent, table } from './table.ts'

interface EvalFlags extends ModelFlags, DataFlags {
  split: 'train' | 'validation' | 'test'
  images?: number
  attention?: string
}

/** Makes the command `paraformer eval`. */
export function evalCommand(): Command {
  const command = makeCommand('eval')
    .description('loss and accuracy of every prefix of a checkpoint on a data set')
    .requiredOption('--checkpoint <file>', 'checkpoint.safetensors or model.safetensors of a run')
  addDataFlags(command)
    .addOption(
      new Option('--split <name>', 'images to use; validation is the folder val of your own images')
        .choices(['train', 'validation', 'test'])
        .default('test'),
    )
    .addOption(new Option('--images <n>', 'use only so many').argParser(count(MAX_COUNT)))
  command.option(
    '--attention <file>',
    'write how the CLS token of each branch attends to some of the images, as report draws it',
  )
  return addModelFlags(command).action(run)
}

/** @throws UserError where there is no sample; FileError when it cannot be written */
async function saveAttention(path: string, sample: AttentionSample | undefined): Promise<void> {
  if (!sample) throw new UserError(`${path}: the images are too large to be kept with their attention; leave --attention out`)
  await writeAttention(path, sample)
}

/** Returns the indices of the images of a split. @throws UserError when the data set has no such images */
function indicesOf(dataset: Dataset, split: EvalFlags['split']): Int32Array {
  if (split === 'test') return first(dataset.test.count)
  const { train, validation } = trainingParts(dataset, 0, 0)
  if (split === 'train') return train
  if (validation.length > 0) return validation
  throw new UserError('--split validation is for images in a folder val; a share of the training images is not kept apart')
}

async function run(flags: EvalFlags): Promise<void> {
  const { attention } = flags
  if (attention !== undefined && flags.mode === 'devices')
    throw new UserError('--attention takes the whole model, of which no device has all in --mode devices; leave one out')
  const checkpoint = await readCheckpoint(flags.checkpoint)
  if (attention !== undefined) await files.checkWritable(attention)
  const { config } = checkpoint
  const { dataset, options } = await dataOfCheckpoint(checkpoint, flags)
  const indices = indicesOf(dataset, flags.split).slice(0, flags.images)
  const loader = evaluationLoader(dataset, flags.split === 'test' ? 'test' : 'train', indices, options)
  const B = evaluationBatch(indices.length, config.channels, config.imageSize)
  const found = await withModel(
    checkpoint,
    flags,
    (model) => dryRunEvaluation(model, B),
    async (model, distributed) => {
      const how = distributed ?? modeOnDevice(flags)
      const scores = await withProgress(indices.length, (onDone) => evaluate(model, loader, onDone, how))
      if (attention !== undefined)
        await saveAttention(attention, await sampleAttention(model, loader, { ...dataset, ...options }))
      return scores
    },
  ).finally(() => loader.close())
  const prefixes = found.losses.map((loss, i) => ({
    branches: i + 1,
    loss,
    accuracy: found.accuracies[i]!,
    parameters: countParameters(config, { branches: i + 1 }).total,
  }))
  if (flags.json) {
    const violated = violations(found.losses)
    printJson({ dataset: dataset.name, split: flags.split, images: found.images, prefixes, violations: violated })
  } else {
    const rows = prefixes.map((p) => [String(p.branches), p.loss.toFixed(4), percent(p.accuracy), compact(p.parameters)])
    console.log(table(['branches', 'loss', 'accuracy', 'parameters'], rows))
    const where = dataset.own ? `in ${flags.dataDir}` : `of ${dataset.name}`
    console.log(`on ${found.images} ${flags.split} images ${printable(where)}`)
  }
  const spoiled = spoiledPrefixes(found.losses)
  if (spoiled) {
    const or = flags.precision === 'mixed' ? ', or --precision f32' : ''
    throw new UserError(`${flags.checkpoint}: ${spoiled}; its parameters are spoiled, use an earlier checkpoint${or}`)
  }
}
