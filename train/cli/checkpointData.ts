import { type Command, Option } from 'commander'
import { UserError } from '../../engine/index.ts'
import { DATASET_KINDS, type Dataset, type DatasetKind, loadDataset } from '../data/datasets.ts'
import { isOwn } from '../data/names.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { decoding } from './decoding.ts'
import { say } from './printable.ts'

/** Flags of commands that use a checkpoint on a data set. */
export interface DataFlags {
  dataset?: DatasetKind
  dataDir?: string
  download?: boolean
  skipBroken?: boolean
}

/** Adds the flags of `DataFlags`. */
export function addDataFlags(command: Command): Command {
  return command
    .addOption(new Option('--dataset <name>', 'data set (default: the one it was trained on)').choices([...DATASET_KINDS]))
    .option('--data-dir <path>', 'folder of its files')
    .option('--download', 'fetch missing files from their official address')
    .option('--skip-broken', 'images: leave out files that cannot be decoded')
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
  const { dataDir: dir, download, skipBroken } = flags
  if (skipBroken && name !== 'images')
    throw new UserError(`--skip-broken has no effect on --dataset ${name}; use it with images`)
  const known = isOwn(name)
    ? { ...(data?.dataset === name && data.own), imageSize: config.imageSize, classNames: data?.classNames, skipBroken }
    : {}
  const channels = name === 'images' ? config.channels : undefined
  const dataset = await decoding((hooks) => loadDataset(name, { dir, download, channels, ...known, ...hooks }))
  if (dataset.channels !== config.channels || dataset.classes !== config.classes) {
    throw new UserError(
      `${path}: takes ${config.channels} channels and ${config.classes} classes, ${name} has ${dataset.channels} and ` +
        `${dataset.classes}; choose the data set it was trained on`,
    )
  }
  if (dataset.leftOut !== undefined) say(dataset.leftOut)
  const size = config.imageSize === dataset.height && config.imageSize === dataset.width ? {} : { imageSize: config.imageSize }
  return { dataset, options: { ...size, ...(data && { mean: data.mean, std: data.std }) } }
}
