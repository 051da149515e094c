import { type Command, Option } from 'commander'
import { UserError } from '../../engine/index.ts'
import { countParameters } from '../../model/index.ts'
import { DATASET_NAMES, type DatasetName, loadDataset } from '../data/datasets.ts'
import { dryRunEvaluation, evaluate, spoiledPrefixes, violations } from '../evaluate.ts'
import { readCheckpoint } from '../run/checkpoint.ts'
import { evaluationBatch, evaluationLoader, first } from '../run/data.ts'
import { MAX_COUNT } from '../settings.ts'
import { addModelFlags, type ModelFlags, modeOnDevice, withModel } from './device.ts'
import { count, makeCommand } from './options.ts'
import { printable, printJson } from './printable.ts'
import { withProgress } from './progress.ts'
import { compact, percent, table } from './table.ts'

interface EvalFlags extends ModelFlags {
  dataset?: DatasetName
  dataDir?: string
  download?: boolean
  split: 'train' | 'test'
  images?: number
}

/** Makes the command `paraformer eval`. */
export function evalCommand(): Command {
  const command = makeCommand('eval')
    .description('loss and accuracy of every prefix of a checkpoint on a data set')
    .requiredOption('--checkpoint <file>', 'checkpoint.safetensors or model.safetensors of a run')
    .addOption(new Option('--dataset <name>', 'data set (default: the one it was trained on)').choices([...DATASET_NAMES]))
    .option('--data-dir <path>', 'folder of its files')
    .option('--download', 'fetch missing files from their official address')
    .addOption(new Option('--split <name>', 'images to use').choices(['train', 'test']).default('test'))
    .addOption(new Option('--images <n>', 'use only so many').argParser(count(MAX_COUNT)))
  return addModelFlags(command).action(run)
}

async function run(flags: EvalFlags): Promise<void> {
  const checkpoint = await readCheckpoint(flags.checkpoint)
  const { config, data } = checkpoint
  const name = flags.dataset ?? data?.dataset
  if (!name) throw new UserError(`${flags.checkpoint}: does not say its data set; name it with --dataset`)
  const dataset = await loadDataset(name, { dir: flags.dataDir, download: flags.download })
  if (dataset.channels !== config.channels || dataset.classes !== config.classes) {
    throw new UserError(
      `${flags.checkpoint}: takes ${config.channels} channels and ${config.classes} classes, ${name} has ${dataset.channels} and ` +
        `${dataset.classes}; choose the data set it was trained on`,
    )
  }
  const size = config.imageSize === dataset.height && config.imageSize === dataset.width ? {} : { imageSize: config.imageSize }
  const normalization = data ? { mean: data.mean, std: data.std } : {}
  const indices = first(dataset[flags.split].count, flags.images)
  const loader = evaluationLoader(dataset, flags.split, indices, { ...size, ...normalization })
  const B = evaluationBatch(indices.length, config.channels, config.imageSize)
  const found = await withModel(
    checkpoint,
    flags,
    (model) => dryRunEvaluation(model, B),
    (model, distributed) =>
      withProgress(indices.length, (onDone) => evaluate(model, loader, onDone, distributed ?? modeOnDevice(flags))),
  ).finally(() => loader.close())
  const prefixes = found.losses.map((loss, i) => ({
    branches: i + 1,
    loss,
    accuracy: found.accuracies[i]!,
    parameters: countParameters(config, { branches: i + 1 }).total,
  }))
  if (flags.json) {
    const violated = violations(found.losses)
    printJson({ dataset: name, split: flags.split, images: found.images, prefixes, violations: violated })
  } else {
    const rows = prefixes.map((p) => [String(p.branches), p.loss.toFixed(4), percent(p.accuracy), compact(p.parameters)])
    console.log(table(['branches', 'loss', 'accuracy', 'parameters'], rows))
    console.log(`on ${found.images} ${flags.split} images of ${printable(name)}`)
  }
  const spoiled = spoiledPrefixes(found.losses)
  if (spoiled) {
    const or = flags.precision === 'mixed' ? ', or --precision f32' : ''
    throw new UserError(`${flags.checkpoint}: ${spoiled}; its parameters are spoiled, use an earlier checkpoint${or}`)
  }
}
