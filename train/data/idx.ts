import { UserError } from '../../engine/base/errors.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { type DataFile, openDataFile, sharedBytes } from './files.ts'
import { checkLabels, type Split } from './split.ts'

/** An IDX array of unsigned bytes (the format of MNIST). */
export interface IdxArray {
  dims: number[]
  data: Uint8Array
}

/**
 * Parses an IDX file of unsigned bytes.
 * @param rank number of dimensions: 3 for images, 1 for labels
 * @param file the file's name, which starts every error message
 * @throws UserError for a wrong magic number, or a length that contradicts the header
 */
export function parseIdx(bytes: Uint8Array, rank: number, file: string): IdxArray {
  const dims = parseHeader(bytes, rank, file)
  const size = sizeOf(dims)
  const found = bytes.length - headerBytes(rank)
  if (found !== size) {
    const what = found < size ? 'truncated' : 'too long'
    throw new UserError(`${file}: ${what}, header says ${size} bytes of data, found ${found}; fetch the file again`)
  }
  if (size === 0) throw new UserError(`${file}: holds no items; use the data set's own file`)
  return { dims, data: bytes.subarray(headerBytes(rank)) }
}

/** Reads the dimensions from the first bytes of a file. */
function parseHeader(bytes: Uint8Array, rank: number, file: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = bytes.length >= 4 ? view.getUint32(0) : undefined
  const expected = 0x0800 + rank
  if (magic !== undefined && magic !== expected) {
    const kind = rank === 1 ? 'labels' : 'images'
    throw new UserError(
      `${file}: magic number 0x${hex(magic)}, expected 0x${hex(expected)} for IDX ${kind}; use the data set's own file`,
    )
  }
  if (bytes.length < headerBytes(rank)) {
    throw new UserError(`${file}: truncated, ${bytes.length} bytes are less than its header; fetch the file again`)
  }
  return Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i))
}

function headerBytes(rank: number): number {
  return 4 + 4 * rank
}

/** Opens a file and reads its header. `read` unpacks no more data than the header says. */
async function openIdx(path: string, rank: number): Promise<{ dims: number[]; read: () => Promise<IdxArray> }> {
  const file: DataFile = await openDataFile(path)
  // A gzip file that is truncated within the header makes `read` throw.
  const head = file.head.length < headerBytes(rank) ? await file.read(headerBytes(rank)) : file.head
  const dims = parseHeader(head, rank, path)
  return { dims, read: async () => parseIdx(await file.read(headerBytes(rank) + sizeOf(dims)), rank, path) }
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0')
}

/**
 * Reads a pair of IDX files, plain or gzipped, as a split of one channel.
 * @param classes number of classes; default as many as a byte has values
 * @throws UserError for malformed files
 */
export async function loadIdxSplit(imagesFile: string, labelsFile: string, classes = 256) {
  const [imageFile, labelFile] = await Promise.all([openIdx(imagesFile, 3), openIdx(labelsFile, 1)])
  const [images, labels] = [await imageFile.read(), await labelFile.read()]
  const [count, height, width] = images.dims as [number, number, number]
  if (labels.dims[0] !== count) {
    throw new UserError(`${labelsFile}: ${labels.dims[0]} labels for ${count} images of ${imagesFile}; use a matching pair`)
  }
  checkLabels(labels.data, classes, labelsFile)
  const split: Split = { images: sharedBytes(images.data.length), labels: sharedBytes(count), count }
  split.images.set(images.data)
  split.labels.set(labels.data)
  return { split, height, width }
}
