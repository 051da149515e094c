import { join } from '#platform'
import { UserError } from '../../../engine/base/errors.ts'
import { joinSplits, parseCifar } from '../cifar.ts'
import type { Dataset } from '../dataset.ts'
import { readMaybeGzip } from '../files.ts'
import type { Split } from '../split.ts'
import { numberedDataset } from './bytes.ts'
import { fileNamesIn } from './folders.ts'
import type { OwnOptions } from './options.ts'

/** Channels, height and width of a record of CIFAR. */
const CIFAR_SHAPE = [3, 32, 32]

/** Bytes of the longest file. */
const MAX_BYTES = 2 ** 30

/** Whether a file has the name of records. */
export function isRecordFile(name: string): boolean {
  return /\.bin(\.gz)?$/.test(name)
}

/**
 * Loads files of records as CIFAR-10 has them: a label byte, then the pixels [channels, height, width]. All files `*.bin` or `*.bin.gz`
 * are read in the order of their names; those whose name begins with `test` are for tests.
 * @throws UserError in one line for files that are missing, or no whole number of records
 */
export async function loadRecordFolder(dir: string, options: OwnOptions): Promise<Dataset> {
  const { recordShape = CIFAR_SHAPE } = options
  const [channels, height, width] = recordShape as [number, number, number]
  const names = (await fileNamesIn(dir)).filter(isRecordFile)
  const isTest = (name: string) => /^test/i.test(name)
  const groups = [names.filter((name) => !isTest(name)), names.filter(isTest)]
  for (const [i, expected] of ['data_batch_1.bin', 'test_batch.bin'].entries())
    if (groups[i]!.length === 0)
      throw new UserError(`${join(dir, expected)}: no such file, nor one like it; files of test images begin with test`)
  const read = async (name: string): Promise<Split> => {
    const path = join(dir, name)
    const layout = { labelBytes: 1, classes: 256, pixels: channels * height * width } as const
    return parseCifar(await readMaybeGzip(path, MAX_BYTES), layout, path)
  }
  const parts: Split[][] = []
  for (const group of groups) {
    const part: Split[] = []
    for (const name of group) part.push(await read(name))
    parts.push(part)
  }
  const [train, test] = parts.map(joinSplits) as [Split, Split]
  const files = groups.flat().map((name) => join(dir, name))
  const own = { recordShape }
  return numberedDataset({ name: 'cifar-like', dir, channels, height, width, train, test, files, own }, options)
}
