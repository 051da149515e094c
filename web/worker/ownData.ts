import * as v from 'valibot'
import { files } from '#platform'
import { count, fields, listOf, parseJson, text } from '../../engine/base/json.ts'
import { FileError, UserError } from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import { openOpfs, removeOpfs } from '../../engine/platform/opfs.ts'
import { isOwn, OWN_FORMATS } from '../../train/data/names.ts'
import { ownFilesOf } from '../../train/data/own/format.ts'
import type { Settings } from '../../train/settings.ts'
import type { GivenFile, OwnDataInfo, Told } from '../protocol.ts'
import { DATA, INDEX } from './kept.ts'

/** Largest number of files, and of their bytes, that the page takes. */
const MOST_FILES = 100_000
const MOST_BYTES = 2 ** 31

/** The bytes of all files, one after the other. `INDEX` tells them apart. */
const PACK = `${DATA}/files.bin`

const INDEX_FIELDS = fields({
  dir: text,
  format: v.picklist(OWN_FORMATS, 'a format of data'),
  files: listOf(fields({ path: text, size: count })),
})

/** The data set of the user's own: its files, which training reads by their paths, and a copy in the origin private file system. */
export class OwnData {
  readonly #tell: (message: Told) => void
  #held: string[] = []
  #info: OwnDataInfo | undefined

  constructor(tell: (message: Told) => void) {
    this.#tell = tell
  }

  /** Takes files in place of the former ones, and keeps them for a reload. @throws UserError in one line for too many */
  async take(given: readonly GivenFile[]): Promise<OwnDataInfo> {
    const bytes = given.reduce((sum, { file }) => sum + file.size, 0)
    if (given.length > MOST_FILES || bytes > MOST_BYTES)
      throw new UserError(
        `${given.length} files of ${(bytes / 2 ** 30).toFixed(1)} GiB are more than this page takes (${MOST_FILES} files, ${MOST_BYTES / 2 ** 30} GiB); train on a part of them, or with paraformer train`,
      )
    const { dir, format, paths } = ownFilesOf(given.map(({ path }) => path))
    await this.forget()
    this.#hold(
      paths,
      given.map(({ file }) => file),
    )
    this.#info = { dir, format, files: given.length }
    try {
      await files.write(PACK, this.#pieces(given))
      const index = { dir, format, files: paths.map((path, i) => ({ path, size: given[i]!.file.size })) }
      await files.write(INDEX, JSON.stringify(index))
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      this.#tell({ kind: 'note', text: `${error.message}; the files are gone after a reload, and have to be given again` })
    }
    return this.#info
  }

  /** Finds the files that an earlier visit kept; undefined where there are none. */
  async restore(): Promise<OwnDataInfo | undefined> {
    if (this.#info) return this.#info
    try {
      const index = parseJson(INDEX_FIELDS, new TextDecoder().decode(await files.read(INDEX)), INDEX)
      const pack = await openOpfs(PACK)
      let at = 0
      const pieces = index.files.map(({ size }) => {
        at += size
        return pack.slice(at - size, at)
      })
      if (at !== pack.size) return undefined
      this.#hold(
        index.files.map(({ path }) => path),
        pieces,
      )
      this.#info = { dir: index.dir, format: index.format, files: pieces.length }
    } catch (error) {
      if (!(error instanceof UserError)) throw error
    }
    return this.#info
  }

  async forget(): Promise<void> {
    for (const path of this.#held) holdFile(path, undefined)
    this.#held = []
    this.#info = undefined
    await removeOpfs(DATA).catch(() => {})
  }

  /** Puts the folder of the user's files into settings of such a data set. @throws UserError where the page has none of that format */
  async placed(settings: Settings): Promise<Settings> {
    const { dataset } = settings
    if (!isOwn(dataset)) return settings
    const info = await this.restore()
    if (info?.format !== dataset)
      throw new UserError(`the run trains on data of your own (${dataset}), which this page has not; drop it here first`)
    return { ...settings, dataDir: info.dir }
  }

  #hold(paths: readonly string[], blobs: readonly Blob[]): void {
    for (const [i, path] of paths.entries()) holdFile(path, blobs[i]!)
    this.#held = [...paths]
  }

  async *#pieces(given: readonly GivenFile[]): AsyncGenerator<Uint8Array> {
    for (const [i, { file }] of given.entries()) {
      yield new Uint8Array(await file.arrayBuffer())
      this.#tell({ kind: 'progress', what: 'Keeping files', done: i + 1, of: given.length })
    }
  }
}
