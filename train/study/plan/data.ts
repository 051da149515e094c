import { UserError } from '../../../engine/index.ts'
import type { Dataset } from '../../data/datasets.ts'
import { loadDatasetOf } from '../../run/data.ts'
import type { Settings } from '../../settings.ts'
import { hashOf } from './hash.ts'

/** The facts of its data that a study needs before any run. */
export interface StudyData extends Pick<Dataset, 'name' | 'channels' | 'height' | 'width' | 'classes'> {
  /** Images of the training split, those held out included. */
  trainImages: number
  testImages: number
  /** Training images of each class. */
  imagesOfClass: readonly number[]
  /** Hash of all images and labels, however their files are packed. */
  hash: string
}

/** Reads a data set, and takes its hash. @throws UserError in one line */
export async function studyData(settings: Settings): Promise<StudyData> {
  if (settings.dataset === 'images' && settings.imageSize === undefined)
    throw new UserError('a study of images counts its work before it loads any; state imageSize in the settings of all arms')
  const { name, channels, height, width, classes, train, test } = await loadDatasetOf(settings)
  const hash = hashOf(train.images, train.labels, test.images, test.labels)
  const imagesOfClass = Array<number>(classes).fill(0)
  for (const label of train.labels) imagesOfClass[label]!++
  return { name, channels, height, width, classes, trainImages: train.count, testImages: test.count, imagesOfClass, hash }
}
