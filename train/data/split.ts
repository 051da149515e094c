import { UserError } from '../../engine/base/errors.ts'

/** Images of one split: `images` is uint8 [count, C, H, W], `labels` uint8 [count]. */
export interface Split {
  images: Uint8Array
  labels: Uint8Array
  count: number
}

/** Throws a UserError naming the file and the position of the first label that is not below `classes`. */
export function checkLabels(labels: Uint8Array, classes: number, file: string): void {
  const at = labels.findIndex((label) => label >= classes)
  if (at >= 0) {
    throw new UserError(
      `${file}: label ${labels[at]} at position ${at} is outside the ${classes} classes; use the data set's own files`,
    )
  }
}
