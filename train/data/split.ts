import { UserError } from '../../engine/base/errors.ts'

/** Classes of images, in as many bytes as the number of classes takes. */
export type Labels = Uint8Array | Uint16Array

/** The images of a split of a data set. */
export interface Split {
  /** uint8 [count, C, H, W] */
  images: Uint8Array
  /** [count] */
  labels: Labels
  count: number
}

/** @throws UserError with the file and the position of the first label that is not below `classes` */
export function checkLabels(labels: Labels, classes: number, file: string): void {
  const at = labels.findIndex((label) => label >= classes)
  if (at >= 0) {
    throw new UserError(
      `${file}: label ${labels[at]} at position ${at} is outside the ${classes} classes; use the data set's own files`,
    )
  }
}
