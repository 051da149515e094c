import { UserError } from '../../../engine/base/errors.ts'
import type { Dataset } from '../dataset.ts'
import type { OwnFormat } from '../names.ts'
import { loadIdxFolder } from './idxFolder.ts'
import { loadImageFolder } from './imageFolder.ts'
import { checkOwnOptions, type OwnOptions } from './options.ts'
import { loadRecordFolder } from './recordFolder.ts'

/** The loader of each format of the user's own data. */
const OWN: Record<OwnFormat, (dir: string, options: OwnOptions) => Promise<Dataset>> = {
  images: loadImageFolder,
  idx: loadIdxFolder,
  'cifar-like': loadRecordFolder,
}

/** Loads a data set of the user's own. @throws UserError in one line: which file, what is wrong, what to do */
export function loadOwn(name: OwnFormat, options: OwnOptions & { download?: boolean | undefined }): Promise<Dataset> {
  const { dir, download } = options
  if (dir === undefined) throw new UserError(`the data set ${name} is your own; name its folder with --data-dir`)
  if (download) throw new UserError(`the data set ${name} is your own, of which nothing is fetched; leave out --download`)
  checkOwnOptions(options)
  return OWN[name](dir, options)
}
