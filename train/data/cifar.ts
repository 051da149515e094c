import { UserError } from '../../engine/base/errors.ts'
import { readMaybeGzip, sharedBytes } from './files.ts'
import { checkLabels, type Split } from './split.ts'

export const CIFAR_PIXELS = 3 * 32 * 32

/** Bytes of the longest file: CIFAR-100's 50,000 training images. */
const MAX_BYTES = 50_000 * (2 + CIFAR_PIXELS)

/** How the records of a CIFAR binary file start: CIFAR-10 has one label byte, CIFAR-100 a coarse and a fine one. */
export interface CifarLayout {
  labelBytes: 1 | 2
  classes: number
}

/**
 * Parses CIFAR's binary version; of two label bytes the second (fine) one counts.
 * @returns images [count, 3, 32, 32] and labels [count]
 * @throws UserError for a length that is no whole number of records, or a label outside the classes
 */
export function parseCifar(bytes: Uint8Array, layout: CifarLayout, file: string): Split {
  const record = layout.labelBytes + CIFAR_PIXELS
  const count = bytes.length / record
  if (count === 0 || !Number.isInteger(count)) {
    throw new UserError(
      `${file}: ${bytes.length} bytes are no whole number of ${record}-byte records (truncated or not CIFAR's binary ` +
        'version); fetch the file again',
    )
  }
  const images = sharedBytes(count * CIFAR_PIXELS)
  const labels = sharedBytes(count)
  for (let i = 0; i < count; i++) {
    const pixels = i * record + layout.labelBytes
    labels[i] = bytes[pixels - 1]!
    images.set(bytes.subarray(pixels, pixels + CIFAR_PIXELS), i * CIFAR_PIXELS)
  }
  checkLabels(labels, layout.classes, file)
  return { images, labels, count }
}

/** Reads CIFAR files one after the other as one split. UserError on any malformation. */
export async function loadCifarSplit(files: readonly string[], layout: CifarLayout): Promise<Split> {
  const parts: Split[] = []
  for (const file of files) {
    const part = parseCifar(await readMaybeGzip(file, MAX_BYTES), layout, file)
    const first = parts[0]
    // The official batches are equally long, so a difference is a file cut at a record's end.
    if (first && part.count !== first.count) {
      throw new UserError(`${file}: ${part.count} records, ${files[0]} has ${first.count}; fetch the shorter file again`)
    }
    parts.push(part)
  }
  if (parts.length === 1) return parts[0]!
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  const all: Split = { images: sharedBytes(count * CIFAR_PIXELS), labels: sharedBytes(count), count }
  let at = 0
  for (const part of parts) {
    all.images.set(part.images, at * CIFAR_PIXELS)
    all.labels.set(part.labels, at)
    at += part.count
  }
  return all
}
