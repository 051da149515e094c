import { UserError } from '../../engine/base/errors.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { loadCifarSplit } from './cifar.ts'
import type { Dataset } from './dataset.ts'
import { loadIdxSplit } from './idx.ts'
import { LOAD_OPTIONS, type LoadOptions } from './loadOptions.ts'
import {
  CHANNEL_STATISTICS,
  CIFAR_10_FILES,
  CIFAR_100_FILES,
  CLASS_NAMES,
  DATASET_KINDS,
  type DatasetKind,
  IDX_FILES,
  isOwn,
} from './names.ts'
import { loadOwn } from './own/load.ts'

/** Addresses of files below which a page finds its data sets, unless it names another folder. */
const FOLDER = 'data'

/**
 * Loads a data set in a page: from the folder of an address, as files of the names that its publishers gave them, gzipped with `.gz`
 * behind the names of IDX. One of the user's own is read from the files that the page was given (`holdFile`), by the rules of Node.
 * @param options.dir address of the folder; default `data/NAME`, relative to the page; of the user's own the folder in the names of its files
 * @throws UserError in one line: which file, what is wrong
 */
export async function loadPageDataset(name: DatasetKind, options: LoadOptions = {}): Promise<Dataset> {
  checkOptions('loadDataset', options, LOAD_OPTIONS)
  if (!DATASET_KINDS.includes(name))
    throw new UserError(`unknown data set ${String(name)}; known are ${DATASET_KINDS.join(', ')}`)
  if (isOwn(name)) return loadOwn(name, options)
  const { mean, std } = CHANNEL_STATISTICS[name]
  const at = (file: string) => `${options.dir ?? `${FOLDER}/${name}`}/${file}`
  const classNames = CLASS_NAMES[name]
  const common = { name, mean: [...mean], std: [...std], ...(classNames && { classNames }) }
  if (name === 'mnist' || name === 'fashion-mnist') {
    const [trainImages, trainLabels, testImages, testLabels] = IDX_FILES.map((file) => at(`${file}.gz`)) as [
      string,
      string,
      string,
      string,
    ]
    const [train, test] = await Promise.all([
      loadIdxSplit(trainImages, trainLabels, 10),
      loadIdxSplit(testImages, testLabels, 10),
    ])
    const { height, width } = train
    return { ...common, channels: 1, height, width, classes: 10, train: train.split, test: test.split }
  }
  const ten = name === 'cifar-10'
  const layout = ten ? ({ labelBytes: 1, classes: 10 } as const) : ({ labelBytes: 2, classes: 100 } as const)
  const files = (ten ? CIFAR_10_FILES : CIFAR_100_FILES).map(at)
  const [train, test] = [await loadCifarSplit(files.slice(0, -1), layout), await loadCifarSplit(files.slice(-1), layout)]
  return { ...common, channels: 3, height: 32, width: 32, classes: layout.classes, train, test }
}
