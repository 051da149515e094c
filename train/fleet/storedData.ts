import type { ObjectStore } from '@nats-io/obj'
import { UserError } from '../../engine/base/errors.ts'
import type { Dataset } from '../data/dataset.ts'
import { pack, unpack } from './branches/wire.ts'
import { ANSWER } from './patience.ts'

/** The most bytes of a data set that workers in browsers get. */
export const MAX_DATA = 512 * 1024 ** 2

/** The object with the data set of this hash. */
export function dataObject(hash: string): string {
  return `data/${hash}`
}

/** Puts a data set into the object store, unless it is there. @throws UserError for one that is too large for browsers */
export async function storeData(store: ObjectStore, dataset: Dataset, hash: string): Promise<void> {
  const found = await store.info(dataObject(hash))
  if (found && !found.deleted) return
  const { name, channels, height, width, classes, mean, std, classNames, train, test } = dataset
  if (dataset.own || dataset.validation)
    throw new UserError(`the data set ${name} is your own, which browsers do not get; use --class cpu`)
  const bytes = pack({ name, channels, height, width, classes, mean, std, classNames, train, test })
  if (bytes.length > MAX_DATA)
    throw new UserError(`the data set ${name} has ${bytes.length} bytes, more than browsers get; use --class cpu`)
  await store.putBlob({ name: dataObject(hash) }, bytes, { timeout: ANSWER })
}

/** Reads a data set from its bytes in the object store. @throws UserError when they are malformed */
export function readData(bytes: Uint8Array): Dataset {
  const found = unpack(bytes) as Dataset
  const { channels, height, width, classes, train, test } = found
  for (const split of [train, test]) {
    const { images, labels, count } = split ?? {}
    const fits = images instanceof Uint8Array && images.length === count * channels * height * width && labels?.length === count
    if (!fits || !(classes > 0)) throw new UserError('a data set of the fleet is malformed')
  }
  return found
}
