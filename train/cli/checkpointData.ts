import { type Command, Option } from 'commander'
import { UserError } from '../../engine/index.ts'
import { DATASET_NAMES, type Dataset, type DatasetName, loadDataset } from '../data/datasets.ts'
import type { Checkpoint } from '../run/checkpoint.ts'

/** Flags of commands that use a checkpoint on a data set. */
export interface DataFlags {
  dataset?: DatasetName
  dataDir?: string
  download?: boolean
}

/** Adds the flags of `DataFlags`. */
export function addDataFlags(command: Command): Command {
  return command
    .addOption(new Option('--dataset <name>', 'data set (default: the one it was trained on)').choices([...DATASET_NAMES]))
    .option('--data-dir <path>', 'folder of its files')
    .option('--download', 'fetch missing files from their official address')
}

/**
 * Loads the data set of a checkpoint, or the one of the flags.
 * @returns the data set, and the size and normalisation that the model takes
 * @throws UserError in one line when neither names a data set, or the model does not take it
 */
export async function dataOfCheckpoint(
  { path, config, data }: Checkpoint,
  flags: DataFlags,
): Promise<{ dataset: Dataset; options: { imageSize?: number; mean?: number[]; std?: number[] } }> {
  const name = flags.dataset ?? data?.dataset
  if (!name) throw new UserError(`${path}: does not say its data set; name it with --dataset`)
  const dataset = await loadDataset(name, { dir: flags.dataDir, download: flags.download })
  if (dataset.channels !== config.channels || dataset.classes !== config.classes) {
    throw new UserError(
      `${path}: takes ${config.channels} channels and ${config.classes} classes, ${name} has ${dataset.channels} and ` +
        `${dataset.classes}; choose the data set it was trained on`,
    )
  }
  const size = config.imageSize === dataset.height && config.imageSize === dataset.width ? {} : { imageSize: config.imageSize }
  return { dataset, options: { ...size, ...(data && { mean: data.mean, std: data.std }) } }
}
