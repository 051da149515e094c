import { join } from 'node:path'
import { files } from '#platform'
import { reason, UserError } from '../../engine/index.ts'
import { checkSettings, type Settings } from '../settings.ts'
import { BUILD } from '../study/plan/build.ts'
import { studyData } from '../study/plan/data.ts'
import { runKey } from '../study/plan/plan.ts'
import { type LoadedStudy, loadStudy } from '../study/plan/source.ts'
import type { RunMessage } from './messages.ts'

/** A run that this worker cannot take though another one may: it lacks the study or the data, or it has other code. */
export class NotHereError extends UserError {}

/** A run that was checked against what this worker has. */
export interface DeclaredRun {
  settings: Settings
  /** The bundled study file. */
  bundle: string
  loaded: LoadedStudy
}

export interface DeclaredOptions {
  /** The folder in which bundled studies are kept. */
  work: string
  /** Study files of the user's, beside those of the package. */
  studies: readonly string[]
  place: Pick<Partial<Settings>, 'dataDir' | 'download'>
}

/**
 * What a worker can run: the studies of its own package and the files that it was started with. No code comes from a message, which only
 * names a study, an arm and settings; the key of the run proves that they mean the same here as where the run was planned.
 */
export class DeclaredRuns {
  readonly #options: DeclaredOptions
  readonly #loaded = new Map<string, Promise<LoadedStudy>>()
  readonly #data = new Map<string, Promise<string>>()
  readonly #own = new Map<string, string>()

  /** Loads the user's studies. @throws UserError for a file that is no study */
  static async open(options: DeclaredOptions): Promise<DeclaredRuns> {
    const declared = new DeclaredRuns(options)
    for (const file of options.studies) {
      const loaded = await loadStudy(file)
      declared.#own.set(loaded.study.id, file)
      declared.#loaded.set(loaded.study.id, Promise.resolve(loaded))
    }
    return declared
  }

  private constructor(options: DeclaredOptions) {
    this.#options = options
  }

  /**
   * Checks a run.
   * @throws NotHereError when this worker lacks something that another one may have; UserError for settings that no worker can take
   */
  async check(message: RunMessage): Promise<DeclaredRun> {
    const { study: id, arm, kind, key } = message
    if (message.sources !== BUILD.sources)
      throw new NotHereError(`the run was planned by other code of paraformer (${message.sources}, here ${BUILD.sources})`)
    const loaded = await this.#study(id)
    if (loaded.hash !== message.code)
      throw new NotHereError(`study ${id} is another one here; start the worker with the same file: --study ${id}.ts`)
    if (!Object.hasOwn(loaded.study.arms, arm)) throw new UserError(`study ${id} has no arm ${arm}`)
    const { dataDir, download, ...given } = message.settings
    const settings = checkSettings({ ...given, ...this.#options.place })
    const data = await this.#dataOf(settings)
    if (data !== message.data) throw new NotHereError(`the data set ${settings.dataset} is another one here`)
    if (runKey({ loaded, data, arm, settings, kind }) !== key)
      throw new UserError(`the key of ${id}, ${arm} does not belong to its settings`)
    const bundle = join(this.#options.work, `${id}-${loaded.hash}.mjs`)
    await files.write(bundle, loaded.code)
    return { settings, bundle, loaded }
  }

  #study(id: string): Promise<LoadedStudy> {
    let loading = this.#loaded.get(id)
    if (!loading) {
      // A message cannot name a file: only names of studies reach this.
      loading = loadStudy(id).catch((error: unknown) => {
        this.#loaded.delete(id)
        throw new NotHereError(`study ${id}: ${reason(error)}; start the worker with --study ${id}.ts`)
      })
      this.#loaded.set(id, loading)
    }
    return loading
  }

  #dataOf(settings: Settings): Promise<string> {
    // Whatever else decides the data is part of the key, too.
    const name = JSON.stringify([settings.dataset, settings.imageSize])
    let reading = this.#data.get(name)
    if (!reading) {
      reading = studyData(settings).then(
        ({ hash }) => hash,
        (error: unknown) => {
          this.#data.delete(name)
          throw new NotHereError(`data set ${settings.dataset}: ${reason(error)}`)
        },
      )
      this.#data.set(name, reading)
    }
    return reading
  }
}
