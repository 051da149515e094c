export type DatasetName = 'mnist' | 'fashion-mnist' | 'cifar-10' | 'cifar-100'

export const DATASET_NAMES: readonly DatasetName[] = ['mnist', 'fashion-mnist', 'cifar-10', 'cifar-100']

/**
 * The format of a data set of the user's own, whose sizes and classes come from its files: `images`, a folder of image files for each
 * class; `idx`, files like MNIST's; `cifar-like`, records like CIFAR-10's.
 */
export type OwnFormat = 'images' | 'idx' | 'cifar-like'

export const OWN_FORMATS: readonly OwnFormat[] = ['images', 'idx', 'cifar-like']

/** The name of a data set, or the format of the user's own. */
export type DatasetKind = DatasetName | OwnFormat

export const DATASET_KINDS: readonly DatasetKind[] = [...DATASET_NAMES, ...OWN_FORMATS]

/** Whether a data set is of the user's own. */
export function isOwn(kind: DatasetKind): kind is OwnFormat {
  return OWN_FORMATS.includes(kind as OwnFormat)
}

/** Characters of the longest name of a class or a data set. */
export const MAX_NAME = 200

/** Sides, channels and classes of a data set. */
export interface DatasetShape {
  height: number
  width: number
  channels: number
  classes: number
}

/** The shapes of the data sets that are known by name. Those of the user's own are known when they are loaded. */
export const DATASET_SHAPES: Readonly<Record<DatasetName, DatasetShape> & Partial<Record<OwnFormat, DatasetShape>>> = {
  mnist: { height: 28, width: 28, channels: 1, classes: 10 },
  'fashion-mnist': { height: 28, width: 28, channels: 1, classes: 10 },
  'cifar-10': { height: 32, width: 32, channels: 3, classes: 10 },
  'cifar-100': { height: 32, width: 32, channels: 3, classes: 100 },
}

/** Class names in label order; those of CIFAR-100 come with its files. */
export const CLASS_NAMES: Partial<Record<DatasetName, string[]>> = {
  mnist: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
  'fashion-mnist': ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'],
  'cifar-10': ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
}

/** Mean and standard deviation of each channel over the training images, for pixels in [0, 1]. */
export const CHANNEL_STATISTICS: Record<DatasetName, { mean: number[]; std: number[] }> = {
  mnist: { mean: [0.1307], std: [0.3081] },
  'fashion-mnist': { mean: [0.286], std: [0.353] },
  'cifar-10': { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
  'cifar-100': { mean: [0.5071, 0.4865, 0.4409], std: [0.2673, 0.2564, 0.2762] },
}

/** Files of MNIST and of data sets like it: images and labels to train on, and those of the tests. */
export const IDX_FILES = [
  'train-images-idx3-ubyte',
  'train-labels-idx1-ubyte',
  't10k-images-idx3-ubyte',
  't10k-labels-idx1-ubyte',
]
/** Files of CIFAR-10 and CIFAR-100, the last of which holds the test images. */
export const CIFAR_10_FILES = [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`).concat('test_batch.bin')
export const CIFAR_100_FILES = ['train.bin', 'test.bin']
