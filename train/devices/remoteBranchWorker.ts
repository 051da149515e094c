import type { TracedDevice } from '../../engine/index.ts'
import type { Entries, ModelState } from '../modelState.ts'
import type { BranchWorker, ForwardRequest, StemGradient, UpdateRequest } from './branchWorker.ts'
import type { BranchWorkerSpec } from './localBranchWorker.ts'
import { type RemoteOptions, RemoteWorker } from './remoteWorker.ts'

/** A worker for branches in a process of its own. */
export class RemoteBranchWorker extends RemoteWorker implements BranchWorker {
  readonly own: readonly number[]
  readonly #dim: number
  /** The number of elements of the stem. */
  readonly #stem: number
  /** The number of elements of each parameter of the branches. */
  readonly #sizes: ReadonlyMap<string, number>
  /** The number of images that were loaded under each number. */
  readonly #images = new Map<number, number>()

  /**
   * Begins a process and opens a worker in it.
   * @throws UserError when the build has no file for the process, or the device cannot be opened
   */
  static open(spec: BranchWorkerSpec, options: RemoteOptions = {}): Promise<RemoteBranchWorker> {
    return new RemoteBranchWorker(spec, options).begin({ open: spec })
  }

  private constructor({ index, own, config, stem, branches }: BranchWorkerSpec, options: RemoteOptions) {
    super(index, 'branches are', options)
    this.own = own
    this.#dim = config.dim
    this.#sizes = new Map([...branches.parameters].map(([name, { data }]) => [name, data.length]))
    this.#stem = [...stem.values()].reduce((sum, { data }) => sum + data.length, 0)
  }

  load(id: number, images: Float32Array, count: number): Promise<void> {
    this.#images.set(id, count)
    return this.call('load', id, images, count)
  }

  drop(id: number): Promise<void> {
    this.#images.delete(id)
    return this.call('drop', id)
  }

  forward(request: ForwardRequest): Promise<Float32Array> {
    const rows = request.eachBranch ? this.own.filter((i) => i < request.branches).length : 1
    const length = rows * (this.#images.get(request.images) ?? 0) * this.#dim
    return this.checkedCall((found) => found instanceof Float32Array && found.length === length, 'forward', request)
  }

  backward(cotangent: Float32Array): Promise<void> {
    return this.call('backward', cotangent)
  }

  stemGradient(): Promise<StemGradient> {
    // The gaps of the arena come along.
    const fits = ({ stem, square }: StemGradient) =>
      stem instanceof Float32Array && stem.length >= this.#stem && typeof square === 'number'
    return this.checkedCall(fits, 'stemGradient')
  }

  update(request: UpdateRequest): Promise<void> {
    return this.call('update', request)
  }

  gradients(): Promise<Entries> {
    return this.checkedCall((found) => this.#areOwn(found), 'gradients')
  }

  state(): Promise<ModelState> {
    // What comes goes into a checkpoint.
    const fits = ({ parameters, m, v, steps }: ModelState) =>
      this.#areOwn(parameters) &&
      [m, v].every((moments) => isEmpty(moments) || this.#areOwn(moments)) &&
      typeof steps === 'object'
    return this.checkedCall(fits, 'state')
  }

  startTrace(): Promise<void> {
    return this.call('startTrace')
  }

  endTrace(): Promise<TracedDevice> {
    return this.call('endTrace')
  }

  /** Whether entries are of all parameters of the branches, and of their sizes. */
  #areOwn(entries: unknown): boolean {
    if (!(entries instanceof Map) || entries.size !== this.#sizes.size) return false
    const fits = ([name, size]: [string, number]) => {
      const data: unknown = entries.get(name)?.data
      return data instanceof Float32Array && data.length === size
    }
    return [...this.#sizes].every(fits)
  }
}

function isEmpty(entries: unknown): boolean {
  return entries instanceof Map && entries.size === 0
}
