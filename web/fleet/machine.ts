import { files } from '#platform'
import { deviceKey } from '../../engine/autotune/store.ts'
import { requestDevice, UserError } from '../../engine/index.ts'
import { removeOpfs } from '../../engine/platform/opfs.ts'
import { countParameters } from '../../model/index.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { type DeclaredRun, type Machine, NotHereError } from '../../train/fleet/machine.ts'
import type { RunMessage } from '../../train/fleet/messages.ts'
import { fetchBytes } from '../../train/fleet/runFiles.ts'
import type { FleetStore } from '../../train/fleet/store.ts'
import { dataObject, readData } from '../../train/fleet/storedData.ts'
import { checkSettings, modelConfigOf, type Settings } from '../../train/settings.ts'
import { BUILD } from '../../train/study/plan/build.ts'
import { keyParts } from '../../train/study/plan/keyParts.ts'
import type { Check } from '../../train/study/run/check.ts'
import type { JobHooks } from '../../train/study/run/processes.ts'
import { checkDevice } from './checkDevice.ts'
import { hashOf } from './hash.ts'
import { MemorySite } from './site.ts'

/** The folder of the data set that this browser keeps, by its hash. */
const DATA = 'opfs:fleet'
/** The most parameters of a model that a browser trains. */
const MOST_PARAMETERS = 20e6

/** A browser, which takes small runs without code of their own. */
export class BrowserMachine implements Machine {
  readonly device: string
  readonly host: string
  readonly sources = BUILD.sources
  readonly #store: FleetStore
  readonly #checked = new Map<string, Check>()
  #data: { hash: string; dataset: Promise<Dataset> } | undefined

  /** @throws UserError in a browser without WebGPU */
  static async open(store: FleetStore, host: string): Promise<BrowserMachine> {
    const device = await requestDevice()
    const key = deviceKey(device.summary)
    device.destroy()
    return new BrowserMachine(store, host, key)
  }

  private constructor(store: FleetStore, host: string, device: string) {
    this.#store = store
    this.host = host
    this.device = device
  }

  /** Nobody is told that a page has closed, so the newest page of a name counts. A run that the one before still has is fenced. */
  isGone(): boolean {
    return true
  }

  async declare(run: RunMessage): Promise<DeclaredRun> {
    if (run.sources !== this.sources)
      throw new NotHereError(`the run was planned by other code of paraformer (${run.sources}, here ${this.sources})`)
    if (run.own) throw new NotHereError(`arm ${run.arm} has code of its own, which no browser takes`)
    const { dataDir, download, ...given } = run.settings
    const settings: Settings = checkSettings(given)
    const dataset = await this.#dataset(run.data)
    const { total } = countParameters(modelConfigOf(settings, dataset))
    if (total > MOST_PARAMETERS) throw new NotHereError(`its model has ${total} parameters, too many for a browser`)
    const { study, arm, kind, key } = run
    if ((await hashOf(keyParts({ kind, study, arm, settings, data: run.data, code: '' }))) !== key)
      throw new UserError(`the key of ${study}, ${arm} does not belong to its settings`)
    return {
      check: (hooks) => this.#check(run, settings, dataset, hooks),
      site: () => new MemorySite(run, settings, dataset),
    }
  }

  /** Checks once that an arm gives the same bits twice in this browser. */
  async #check({ folder, arm, code }: RunMessage, settings: Settings, dataset: Dataset, hooks: JobHooks) {
    const name = `${folder} ${code} ${arm}`
    let check = this.#checked.get(name)
    if (!check) {
      check = await checkDevice(code, arm, settings, dataset, hooks)
      if (!check) return undefined
      this.#checked.set(name, check)
    }
    return { check }
  }

  /** Loads the data set of this hash: what the browser keeps, or what the fleet has. */
  #dataset(hash: string): Promise<Dataset> {
    if (this.#data?.hash !== hash) {
      const loading = this.#load(hash)
      this.#data = { hash, dataset: loading }
      loading.catch(() => {
        this.#data = undefined
      })
    }
    return this.#data.dataset
  }

  async #load(hash: string): Promise<Dataset> {
    const kept = `${DATA}/${hash}`
    const found = await files.read(kept).catch(() => undefined)
    if (found && (await hashOfData(found)) === hash) return readData(found)
    const fetched = await fetchBytes(this.#store.files, dataObject(hash))
    if (!fetched) throw new NotHereError('the fleet does not have its data set')
    if ((await hashOfData(fetched)) !== hash) throw new NotHereError('the data set of the fleet is another one')
    // One data set at a time is kept. A browser that keeps nothing fetches it again.
    await removeOpfs(DATA).catch(() => {})
    await files.write(kept, fetched).catch(() => {})
    return readData(fetched)
  }
}

/** Returns the hash by which a study knows its data: of all images and labels. */
function hashOfData(bytes: Uint8Array): Promise<string> {
  const { train, test } = readData(bytes)
  return hashOf(train.images, train.labels, test.images, test.labels)
}
