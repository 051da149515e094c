import { files } from '#platform'
import { UserError } from '../../engine/index.ts'
import { imageKind } from '../../train/data/images.ts'
import type { OwnFormat } from '../../train/data/names.ts'
import { findClassFolders } from '../../train/data/own/folders.ts'
import { loadOwn } from '../../train/data/own/load.ts'

/** Files of a class that are looked at. */
const LOOKED_AT = 3

/**
 * Checks that files are a data set, before a run is opened on it. Numbers are read whole; of images only some are looked at, since decoding
 * all takes long.
 * @returns pixels of a side, where the files say it
 * @throws UserError in one line: which file, what is wrong
 */
export async function checkOwnData(format: OwnFormat, dir: string): Promise<number | undefined> {
  if (format !== 'images') {
    const { height, width } = await loadOwn(format, { dir })
    return Math.min(height, width)
  }
  const { train } = await findClassFolders(dir)
  for (const { name, files: found } of train) {
    const looked = await Promise.all(found.slice(0, LOOKED_AT).map(async ({ path }) => imageKind(await files.read(path))))
    if (looked.every((kind) => kind === undefined))
      throw new UserError(`${dir}/${name}: ${found[0]!.name} is no image; the page takes PNG, JPEG, WebP and GIF files`)
  }
  return undefined
}
