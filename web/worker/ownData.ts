import * as v from 'valibot'
import { files } from '#platform'
import { count, fields, listOf, parseJson, text } from '../../engine/base/json.ts'
import { FileError, UserError } from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import { openOpfs } from '../../engine/platform/opfs.ts'
import { isOwn, OWN_FORMATS } from '../../train/data/names.ts'
import { ownFilesOf } from '../../train/data/own/format.ts'
import type { Settings } from '../../train/settings.ts'
import type { GivenFile, OwnDataInfo, Told } from '../protocol.ts'
import { counted } from '../words.ts'
import { checkOwnData } from './checkData.ts'
import { DATA, INDEX } from './kept.ts'
import { forgetKept, isKept, keep } from './storage.ts'

/** Largest number of files, and of their bytes, that the page takes. */
const MOST_FILES = 100_000
const MOST_BYTES = 2 ** 31

/** The bytes of all files, one after the other. `INDEX` tells them apart. */
const PACK = `${DATA}/files.bin`

const INDEX_FIELDS = fields({
  dir: text,
  format: v.picklist(OWN_FORMATS, 'a format of data'),
  side: v.optional(count),
  files: listOf(fields({ path: text, size: count })),
})

/** A file that training reads by its path. */
interface Held {
  path: string
  blob: Blob
}

/** The data set of the user's own: its files, which training reads by their paths, and a copy in the origin private file system. */
export class OwnData {
  readonly #tell: (message: Told) => void
  #held: readonly Held[] = []
  #info: OwnDataInfo | undefined

  constructor(tell: (message: Told) => void) {
    this.#tell = tell
  }

  /**
   * Takes files in place of the former ones, and keeps them for a reload.
   * @throws UserError in one line for files that are no data set, and too many; the former ones stay then
   */
  async take(given: readonly GivenFile[]): Promise<OwnDataInfo> {
    const bytes = given.reduce((sum, { file }) => sum + file.size, 0)
    if (given.length > MOST_FILES || bytes > MOST_BYTES)
      throw new UserError(
        `${counted(given.length, 'file')} of ${(bytes / 2 ** 30).toFixed(1)} GiB are more than this page takes (${MOST_FILES} files, ${MOST_BYTES / 2 ** 30} GiB); train on a part of them, or with paraformer train`,
      )
    const { dir, format, paths } = ownFilesOf(given.map(({ path }) => path))
    const former = this.#held
    this.#hold(paths.map((path, i) => ({ path, blob: given[i]!.file })))
    let side: number | undefined
    try {
      side = await checkOwnData(format, dir)
    } catch (error) {
      this.#hold(former)
      throw error
    }
    await forgetKept(DATA)
    this.#info = { dir, format, files: given.length, side }
    try {
      await keep(PACK, this.#pieces(given))
      const index = { dir, format, side, files: paths.map((path, i) => ({ path, size: given[i]!.file.size })) }
      await keep(INDEX, JSON.stringify(index))
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      this.#tell({ kind: 'note', text: `${error.message}; the files have to be given again after a reload` })
    }
    return this.#info
  }

  /** Finds the files that an earlier visit kept; undefined where there are none. */
  async restore(): Promise<OwnDataInfo | undefined> {
    if (this.#info || !(await isKept(INDEX))) return this.#info
    try {
      const index = parseJson(INDEX_FIELDS, new TextDecoder().decode(await files.read(INDEX)), INDEX)
      const pack = await openOpfs(PACK)
      let at = 0
      const pieces = index.files.map(({ size }) => {
        at += size
        return pack.slice(at - size, at)
      })
      if (at !== pack.size) return undefined
      this.#hold(index.files.map(({ path }, i) => ({ path, blob: pieces[i]! })))
      this.#info = { dir: index.dir, format: index.format, files: pieces.length, side: index.side }
    } catch (error) {
      if (!(error instanceof UserError)) throw error
    }
    return this.#info
  }

  /** Puts the folder of the user's files into settings of such a data set. @throws UserError where the page has none of that format */
  async placed(settings: Settings): Promise<Settings> {
    const { dataset } = settings
    if (!isOwn(dataset)) return settings
    const info = await this.restore()
    if (info?.format !== dataset)
      throw new UserError(
        `the run trains on data of your own (${dataset}), which this page has not; give it here, and the run goes on`,
      )
    return { ...settings, dataDir: info.dir }
  }

  /** Makes files readable by their paths, in place of those before them. */
  #hold(held: readonly Held[]): void {
    for (const { path } of this.#held) holdFile(path, undefined)
    for (const { path, blob } of held) holdFile(path, blob)
    this.#held = held
  }

  async *#pieces(given: readonly GivenFile[]): AsyncGenerator<Uint8Array> {
    for (const [i, { file }] of given.entries()) {
      yield new Uint8Array(await file.arrayBuffer())
      this.#tell({ kind: 'progress', what: 'Keeping files', done: i + 1, of: given.length })
    }
  }
}
