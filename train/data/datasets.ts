import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { files as disk } from '#platform'
import { UserError } from '../../engine/base/errors.ts'
import { kindOf } from '../../engine/base/kind.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { loadCifarSplit } from './cifar.ts'
import { loadIdxSplit } from './idx.ts'
import { FINE_LABEL_NAMES, type LocateOptions, locateFiles } from './locate.ts'
import { CHANNEL_STATISTICS, CLASS_NAMES, DATASET_NAMES, type DatasetName, MAX_NAME } from './names.ts'
import type { Split } from './split.ts'

export { DATASET_NAMES, type DatasetName } from './names.ts'
export type { Split } from './split.ts'

/** A labelled image data set. */
export interface Dataset {
  name: DatasetName
  channels: number
  height: number
  width: number
  classes: number
  /** Mean of each channel, for pixels in [0, 1]. */
  mean: number[]
  /** Standard deviation of each channel, for pixels in [0, 1]. */
  std: number[]
  classNames?: string[]
  train: Split
  test: Split
  /** Paths of the files that it was read from. */
  files?: readonly string[]
}

const IDX_FILES = ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte']
const CIFAR_10_FILES = [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`).concat('test_batch.bin')
const CIFAR_100_FILES = ['train.bin', 'test.bin']

/**
 * Loads a data set whole into memory.
 * @param options.dir folder of its files; default the folder of its package, then the user's cache
 * @param options.download whether missing files are fetched, with a checksum
 * @throws UserError in one line: which file, what is wrong, what to do
 */
export async function loadDataset(name: DatasetName, options: LocateOptions = {}): Promise<Dataset> {
  checkOptions('loadDataset', options, { dir: true, download: true })
  if (!DATASET_NAMES.includes(name)) {
    throw new UserError(`unknown data set ${kindOf(name)}; known are ${DATASET_NAMES.join(', ')}`)
  }
  const { mean, std } = CHANNEL_STATISTICS[name]
  const common = { name, mean: [...mean], std: [...std] }
  const classNames = CLASS_NAMES[name]
  if (name === 'mnist' || name === 'fashion-mnist') {
    const files = await locateFiles(name, IDX_FILES, options)
    const [trainImages, trainLabels, testImages, testLabels] = files as [string, string, string, string]
    const train = await loadIdxSplit(trainImages, trainLabels, 10)
    const test = await loadIdxSplit(testImages, testLabels, 10)
    const { height, width } = train
    if (test.height !== height || test.width !== width) {
      throw new UserError(`${testImages}: images of ${test.height}x${test.width}, training has ${height}x${width}; use one set`)
    }
    const shape = { channels: 1, height, width, classes: 10, classNames: classNames! }
    return { ...common, ...shape, train: train.split, test: test.split, files }
  }
  const layout = name === 'cifar-10' ? ({ labelBytes: 1, classes: 10 } as const) : ({ labelBytes: 2, classes: 100 } as const)
  const files = await locateFiles(name, name === 'cifar-10' ? CIFAR_10_FILES : CIFAR_100_FILES, options)
  const train = await loadCifarSplit(files.slice(0, -1), layout)
  const test = await loadCifarSplit(files.slice(-1), layout)
  const names = classNames ?? (await fineLabelNames(dirname(files[0]!)))
  const shape = { channels: 3, height: 32, width: 32, classes: layout.classes }
  return { ...common, ...shape, ...(names && { classNames: names }), train, test, files }
}

/** Largest number of bytes of the file of CIFAR-100's class names. */
const MAX_NAMES = 10_000

/** Reads CIFAR-100's class names, which lie beside its files; undefined when they are missing or malformed. */
async function fineLabelNames(folder: string): Promise<string[] | undefined> {
  const path = join(folder, FINE_LABEL_NAMES)
  if (!existsSync(path)) return undefined
  const names = new TextDecoder()
    .decode(await disk.read(path, MAX_NAMES))
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
  return names.length === 100 && names.every((name) => name.length <= MAX_NAME) ? names : undefined
}
