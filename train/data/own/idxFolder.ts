import { join } from '#platform'
import { UserError } from '../../../engine/base/errors.ts'
import type { Dataset } from '../dataset.ts'
import { loadIdxSplit } from '../idx.ts'
import { numberedDataset } from './bytes.ts'
import { fileNamesIn } from './folders.ts'
import type { OwnOptions } from './options.ts'

/** Names of files of images, such as `train-images-idx3-ubyte.gz` and `emnist-letters-test-images.idx3-ubyte`. */
const IMAGES = /^(?:.*-)?(train|t10k|test)-images[-.]idx3-ubyte(\.gz)?$/

/** Whether a file has the name of IDX images. */
export function isIdxImages(name: string): boolean {
  return IMAGES.test(name)
}

/**
 * Loads pairs of IDX files: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and the same of `t10k` or `test`, plain or gzipped,
 * with any text and a hyphen before.
 * @throws UserError in one line for files that are missing, malformed or of several data sets
 */
export async function loadIdxFolder(dir: string, options: OwnOptions): Promise<Dataset> {
  const names = await fileNamesIn(dir)
  const pairOf = (splits: readonly string[]) => {
    const images = names.filter((name) => splits.includes(IMAGES.exec(name)?.[1] ?? ''))
    if (images.length === 0)
      throw new UserError(`${join(dir, `${splits[0]}-images-idx3-ubyte`)}: no such file, nor one like it; add it to the folder`)
    if (images.length > 1)
      throw new UserError(`${dir}: holds ${images[0]} and ${images[1]}; keep the files of one data set in the folder`)
    const base = images[0]!.replace(/\.gz$/, '').replace(/images([-.])idx3/, 'labels$1idx1')
    const labels = [base, `${base}.gz`].find((name) => names.includes(name))
    if (labels === undefined) throw new UserError(`${join(dir, base)}: no such file; add the labels of ${images[0]}`)
    return [join(dir, images[0]!), join(dir, labels)] as const
  }
  const [trainImages, trainLabels] = pairOf(['train'])
  const [testImages, testLabels] = pairOf(['t10k', 'test'])
  const train = await loadIdxSplit(trainImages, trainLabels)
  const test = await loadIdxSplit(testImages, testLabels)
  const { height, width } = train
  if (test.height !== height || test.width !== width) {
    throw new UserError(`${testImages}: images of ${test.height}x${test.width}, training has ${height}x${width}; use one set`)
  }
  const files = [trainImages, trainLabels, testImages, testLabels]
  const splits = { train: train.split, test: test.split }
  return numberedDataset({ name: 'idx', dir, channels: 1, height, width, ...splits, files, own: {} }, options)
}
