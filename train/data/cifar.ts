import { UserError } from '../../engine/base/errors.ts'
import { readMaybeGzip, sharedBytes } from './files.ts'
import { checkLabels, type Split } from './split.ts'

export const CIFAR_PIXELS = 3 * 32 * 32

/** Bytes of the longest file, which holds CIFAR-100's 50,000 training images. */
const MAX_BYTES = 50_000 * (2 + CIFAR_PIXELS)

/** The format of CIFAR's binary files, and of others like them. */
export interface CifarLayout {
  /** Label bytes before the pixels of an image: one in CIFAR-10, a coarse and a fine one in CIFAR-100. */
  labelBytes: 1 | 2
  classes: number
  /** Bytes of an image; default those of CIFAR. */
  pixels?: number
}

/**
 * Parses a file of CIFAR's binary version. Of two label bytes it takes the second, which is the fine label.
 * @param file the file's name, which starts every error message
 * @returns images [count, C, H, W], of CIFAR [count, 3, 32, 32], and labels [count]
 * @throws UserError for a length that is no whole number of records, or a label outside the classes
 */
export function parseCifar(bytes: Uint8Array, layout: CifarLayout, file: string): Split {
  const { labelBytes, classes, pixels = CIFAR_PIXELS } = layout
  const record = labelBytes + pixels
  const count = bytes.length / record
  if (count === 0 || !Number.isInteger(count)) {
    const what = `${file}: ${bytes.length} bytes are no whole number of ${record}-byte records`
    throw new UserError(
      layout.pixels === undefined
        ? `${what} (truncated or not CIFAR's binary version); fetch the file again`
        : `${what} (truncated, or records of another shape); say theirs with --record-shape channels,height,width`,
    )
  }
  const images = sharedBytes(count * pixels)
  const labels = sharedBytes(count)
  for (let i = 0; i < count; i++) {
    const from = i * record + labelBytes
    labels[i] = bytes[from - 1]!
    images.set(bytes.subarray(from, from + pixels), i * pixels)
  }
  checkLabels(labels, classes, file)
  return { images, labels, count }
}

/** Reads CIFAR files as one split, in order. @throws UserError for a malformed file */
export async function loadCifarSplit(files: readonly string[], layout: CifarLayout): Promise<Split> {
  const parts: Split[] = []
  for (const file of files) {
    const part = parseCifar(await readMaybeGzip(file, MAX_BYTES), layout, file)
    const first = parts[0]
    // The official files are equally long, so a shorter one was truncated at a record's end.
    if (first && part.count !== first.count) {
      throw new UserError(`${file}: ${part.count} records, ${files[0]} has ${first.count}; fetch the shorter file again`)
    }
    parts.push(part)
  }
  return joinSplits(parts)
}

/** Joins the images of several splits, of which there is at least one. */
export function joinSplits(parts: readonly Split[]): Split {
  const [first] = parts as [Split]
  if (parts.length === 1) return first
  const pixels = first.images.length / first.count
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  const all: Split = { images: sharedBytes(count * pixels), labels: sharedBytes(count), count }
  let at = 0
  for (const part of parts) {
    all.images.set(part.images, at * pixels)
    all.labels.set(part.labels, at)
    at += part.count
  }
  return all
}
