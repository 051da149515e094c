import { hostname } from 'node:os'
import { join } from 'node:path'
import { files } from '#platform'
import { reason, UserError } from '../../engine/index.ts'
import { isAlive } from '../../engine/platform/files.ts'
import { checkSettings, type Settings } from '../settings.ts'
import { BUILD } from '../study/plan/build.ts'
import { studyData } from '../study/plan/data.ts'
import { runKey } from '../study/plan/plan.ts'
import { type LoadedStudy, loadStudy } from '../study/plan/source.ts'
import type { Check } from '../study/run/check.ts'
import { checkDevice } from '../study/run/checks.ts'
import { doJob, type JobHooks } from '../study/run/processes.ts'
import { FolderSite } from './folderSite.ts'
import { type DeclaredRun, type Machine, NotHereError } from './machine.ts'
import type { RunMessage, WorkerEntry } from './messages.ts'

export interface NodeMachineOptions {
  /** The folder of bundled studies, checks of the device, and runs in progress. */
  work: string
  /** Study files of the user's, beside those of the package. */
  studies: readonly string[]
  place: Pick<Partial<Settings>, 'dataDir' | 'download'>
  adapter: string | undefined
  /** The device, as `deviceKey` names it. */
  device: string
}

/**
 * Opens a device in a process of its own, which ends again. @returns the device, as `deviceKey` names it; undefined when the signal aborts
 * @throws UserError when there is no such device
 */
export async function deviceOf(
  adapter: string | undefined,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<string | undefined> {
  const probe = await doJob({ kind: 'check', bundle: '', adapter, tune: 'off', arms: [], known: [] }, { signal, note })
  if (probe.how === 'failed') throw new UserError(probe.message)
  return probe.how === 'done' ? probe.report!.device : undefined
}

/** Whether no process of this machine has this number, or it is this one. */
export function isGoneHere(pid: number | undefined): boolean {
  return pid === undefined || pid === process.pid || !isAlive(pid)
}

/**
 * A machine with Node. It can run the studies of its own package and the files that it was started with. No code comes from a message, which only
 * names a study, an arm and settings; the key of the run proves that they mean the same here as where the run was planned.
 */
export class NodeMachine implements Machine {
  readonly device: string
  readonly host = hostname()
  readonly pid = process.pid
  readonly sources = BUILD.sources
  readonly #options: NodeMachineOptions
  readonly #loaded = new Map<string, Promise<LoadedStudy>>()
  readonly #data = new Map<string, Promise<string>>()
  readonly #own = new Map<string, string>()
  readonly #checked = new Map<string, Check>()

  /** Loads the user's studies. @throws UserError for a file that is no study */
  static async open(options: NodeMachineOptions): Promise<NodeMachine> {
    const machine = new NodeMachine(options)
    for (const file of options.studies) {
      const loaded = await loadStudy(file)
      machine.#own.set(loaded.study.id, file)
      machine.#loaded.set(loaded.study.id, Promise.resolve(loaded))
    }
    return machine
  }

  private constructor(options: NodeMachineOptions) {
    this.#options = options
    this.device = options.device
  }

  isGone({ pid }: WorkerEntry): boolean {
    return isGoneHere(pid)
  }

  async declare(message: RunMessage): Promise<DeclaredRun> {
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
    const { work, adapter } = this.#options
    const { saveEvery, flops, tune } = message
    const job = { kind, bundle, adapter, tune, key, arm, settings, saveEvery, flops }
    return {
      check: (hooks) => this.#check(message, { bundle, settings }, hooks),
      site: () => new FolderSite(join(work, message.folder, kind, key), job),
    }
  }

  /** Checks once that an arm gives the same bits twice on this device. */
  async #check({ arm, folder, tune, code }: RunMessage, own: { bundle: string; settings: Settings }, hooks: JobHooks) {
    const { adapter, work } = this.#options
    const name = `${folder} ${code} ${arm}`
    let check = this.#checked.get(name)
    if (!check) {
      const path = join(work, `${folder}-${arm}-checks.json`)
      const job = {
        kind: 'check' as const,
        bundle: own.bundle,
        adapter,
        tune,
        arms: [{ arm, settings: own.settings }],
        known: [],
      }
      const checks = await checkDevice(path, job, code, hooks)
      check = checks?.findLast(({ device }) => device === this.device)
      if (!check) return undefined
      this.#checked.set(name, check)
    }
    return { check }
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
