import { sharedBytes } from './files.ts'
import type { Labels } from './split.ts'

/** Largest number of classes that labels hold. */
export const MAX_CLASSES = 2 ** 16

/** Makes the labels of a split, of a byte each where that holds all classes, on shared memory if there is some. */
export function labelsOf(classes: number, labels: ArrayLike<number>): Labels {
  const { length } = labels
  const made = classes <= 256 ? sharedBytes(length) : new Uint16Array(sharedBytes(2 * length).buffer)
  made.set(labels)
  return made
}
