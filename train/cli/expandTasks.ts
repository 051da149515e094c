import { UserError } from '../../engine/index.ts'
import { type Dataset, type DatasetKind, loadDataset } from '../data/datasets.ts'
import { isOwn } from '../data/names.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { loadDatasetOf } from '../run/data.ts'
import type { DataInfo } from '../run/metadata.ts'
import type { Settings } from '../settings.ts'
import {
  classGroups,
  classTasks,
  datasetTasks,
  limited,
  permutedTasks,
  rotatedTasks,
  type SplitName,
  type Task,
} from '../study/expand/splits.ts'
import { decoding } from './decoding.ts'
import { say } from './printable.ts'

/** Flags that make the tasks. */
export interface TaskFlags {
  split: SplitName
  tasks: number
  classSeed?: number | undefined
  to?: DatasetKind | undefined
  toDataDir?: string | undefined
}

/** A sequence of tasks, the data set that they come from, and the data info of a model that has learned all of them. */
export interface Tasks {
  tasks: Task[]
  dataset: Dataset
  info: DataInfo
}

/**
 * Loads the data of an expansion and divides it into tasks.
 * @param checkpoint the model that knows the first task; without one a model will be trained on it
 * @throws UserError in one line for flags that do not fit each other, the data or the model
 */
export async function tasksOf(flags: TaskFlags, settings: Settings, checkpoint?: Checkpoint): Promise<Tasks> {
  checkTaskFlags(flags)
  const dataset = await decoding((hooks) =>
    loadDatasetOf(settings, { like: checkpoint, sameData: checkpoint !== undefined, ...hooks }),
  )
  if (checkpoint && checkpoint.config.channels !== dataset.channels) {
    throw new UserError(
      `${checkpoint.path}: takes ${checkpoint.config.channels} channels, ${dataset.name} has ${dataset.channels}; choose the data set it was trained on`,
    )
  }
  if (dataset.leftOut !== undefined) say(dataset.leftOut)
  const { mean, std } = checkpoint?.data ?? dataset
  const groups = flags.split === 'classes' ? groupsOf(flags, dataset, checkpoint) : undefined
  const order = groups?.flat() ?? Array.from({ length: dataset.classes }, (_, i) => i)
  const classNames = dataset.classNames && order.map((label) => dataset.classNames![label]!)
  const tasks = groups ? classTasks(dataset, groups) : await domainsOf(flags, settings, dataset, checkpoint)
  return {
    tasks: tasks.map((task) => limited(task, settings)),
    dataset,
    info: { dataset: dataset.name, mean, std, classNames, ...(dataset.own && { own: dataset.own }) },
  }
}

function groupsOf({ tasks, classSeed }: TaskFlags, dataset: Dataset, checkpoint: Checkpoint | undefined): number[][] {
  const known = checkpoint && knownClasses(checkpoint, dataset)
  const options = { seed: classSeed, known }
  if (!checkpoint) return classGroups(dataset.classes, tasks, options)
  try {
    return classGroups(dataset.classes, tasks, options)
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${checkpoint.path}: ${error.message}`) : error
  }
}

/** Returns the classes of a data set that a model knows, in its order. @throws UserError for a class that the data set lacks */
function knownClasses({ path, config, data }: Checkpoint, { name, classes, classNames }: Dataset): number[] {
  if (config.classes > classes) {
    throw new UserError(`${path}: has ${config.classes} classes, ${name} ${classes}; choose the data set it was trained on`)
  }
  if (!data?.classNames || !classNames) return Array.from({ length: config.classes }, (_, i) => i)
  const labels = data.classNames.map((known) => {
    const label = classNames.indexOf(known)
    if (label < 0)
      throw new UserError(`${path}: knows a class ${known}, which ${name} lacks; choose the data set it was trained on`)
    return label
  })
  if (new Set(labels).size < labels.length) throw new UserError(`${path}: names a class twice; use an intact checkpoint`)
  return labels
}

async function domainsOf(
  { split, tasks, to, toDataDir }: TaskFlags,
  { seed, download }: Settings,
  dataset: Dataset,
  checkpoint: Checkpoint | undefined,
): Promise<Task[]> {
  if (checkpoint && checkpoint.config.classes !== dataset.classes) {
    const { classes } = checkpoint.config
    throw new UserError(`${checkpoint.path}: has ${classes} classes, ${dataset.name} ${dataset.classes}; use --split classes`)
  }
  if (split === 'permuted') return permutedTasks(dataset, tasks, seed)
  if (split === 'rotated') return rotatedTasks(dataset, tasks)
  const own = isOwn(to!) ? { imageSize: dataset.height, channels: dataset.channels, ...dataset.own, seed } : {}
  return datasetTasks(dataset, await decoding((hooks) => loadDataset(to!, { dir: toDataDir, download, ...own, ...hooks })))
}

/** @throws UserError in one line for flags that do not go together */
function checkTaskFlags({ split, tasks, to, toDataDir, classSeed }: TaskFlags): void {
  if (split === 'dataset' && to === undefined)
    throw new UserError('--split dataset needs --to NAME, the data set to learn next')
  if (split === 'dataset' && tasks !== 2) throw new UserError('--split dataset has 2 tasks; leave out --tasks')
  if (split !== 'dataset' && (to !== undefined || toDataDir !== undefined))
    throw new UserError('--to and --to-data-dir go with --split dataset')
  if (split !== 'classes' && classSeed !== undefined) throw new UserError('--class-seed goes with --split classes')
  if (classSeed !== undefined && !(Number.isSafeInteger(classSeed) && classSeed >= 0))
    throw new UserError(`--class-seed ${classSeed} is not a whole number of at least 0`)
  if (tasks < 2) throw new UserError(`--tasks ${tasks} is not a whole number from 2 on; the model knows the first one`)
}
