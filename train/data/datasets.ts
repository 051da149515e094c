import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { files as disk } from '#platform'
import { UserError } from '../../engine/base/errors.ts'
import { kindOf } from '../../engine/base/kind.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { loadCifarSplit } from './cifar.ts'
import type { Dataset } from './dataset.ts'
import { loadIdxSplit } from './idx.ts'
import { LOAD_OPTIONS, type LoadOptions } from './loadOptions.ts'
import { FINE_LABEL_NAMES, locateFiles } from './locate.ts'
import {
  CHANNEL_STATISTICS,
  CIFAR_10_FILES,
  CIFAR_100_FILES,
  CLASS_NAMES,
  DATASET_KINDS,
  type DatasetKind,
  IDX_FILES,
  isOwn,
  MAX_NAME,
} from './names.ts'
import { loadOwn } from './own/load.ts'

export type { Dataset } from './dataset.ts'
export type { LoadOptions } from './loadOptions.ts'
export { DATASET_KINDS, type DatasetKind, type DatasetName } from './names.ts'
export type { Split } from './split.ts'

/**
 * Loads a data set whole into memory. One of the user's own is read from `dir` alone: `images`, a folder of image files for each class (see
 * `loadImageFolder`); `idx`, files like MNIST's (see `loadIdxFolder`); `cifar-like`, records like CIFAR-10's (see `loadRecordFolder`).
 * @param options.dir folder of its files; default the folder of its package, then the user's cache
 * @param options.download whether missing files are fetched, with a checksum
 * @param options.imageSize pixels of a side of one's own images, to which they are resized and cropped
 * @param options.multipleOf the side is a multiple of this where no size is given
 * @param options.channels 1 (gray) or 3 (RGB); default gray if all images are
 * @param options.classNames all classes in label order; default the names of the folders, in order
 * @param options.seed of the division into training and test images; default 0
 * @param options.testShare share of each class that is for tests, above 0 and up to 0.9; default 0.2
 * @param options.recordShape channels, height and width of a record; default 3, 32, 32
 * @param options.skipBroken leaves out image files that cannot be decoded; default is an error
 * @param options.onProgress is called with the number of files decoded, and of all
 * @throws UserError in one line: which file, what is wrong, what to do
 */
export async function loadDataset(name: DatasetKind, options: LoadOptions = {}): Promise<Dataset> {
  checkOptions('loadDataset', options, LOAD_OPTIONS)
  if (!DATASET_KINDS.includes(name)) {
    throw new UserError(`unknown data set ${kindOf(name)}; known are ${DATASET_KINDS.join(', ')}`)
  }
  if (isOwn(name)) return loadOwn(name, options)
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
