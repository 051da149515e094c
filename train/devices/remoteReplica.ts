import type { TracedDevice } from '../../engine/index.ts'
import type { ReplicaSpec } from './localReplica.ts'
import { type RemoteOptions, RemoteWorker } from './remoteWorker.ts'
import type { GradientRequest, ReplicaWorker, SliceGradient } from './replicaWorker.ts'

/** A replica in a process of its own. */
export class RemoteReplica extends RemoteWorker implements ReplicaWorker {
  /** The number of elements of all parameters. */
  readonly #length: number
  /** The number of images that were loaded under each number. */
  readonly #images = new Map<number, number>()

  /**
   * Begins a process and opens a replica in it.
   * @throws UserError when the build has no file for the process, or the device cannot be opened
   */
  static open(spec: ReplicaSpec, options: RemoteOptions = {}): Promise<RemoteReplica> {
    return new RemoteReplica(spec, options).begin({ replica: spec })
  }

  private constructor({ index, parameters }: ReplicaSpec, options: RemoteOptions) {
    super(index, 'replica is', options)
    this.#length = [...parameters.values()].reduce((sum, { data }) => sum + data.length, 0)
  }

  load(id: number, images: Float32Array, labels: Int32Array): Promise<void> {
    this.#images.set(id, labels.length)
    return this.call('load', id, images, labels)
  }

  drop(id: number): Promise<void> {
    this.#images.delete(id)
    return this.call('drop', id)
  }

  gradient(request: GradientRequest): Promise<SliceGradient> {
    const fits = ({ gradient, losses, predicted }: SliceGradient) =>
      gradient instanceof Float32Array &&
      gradient.length === this.#length &&
      losses instanceof Float32Array &&
      Array.isArray(predicted) &&
      predicted.length === request.parts.length &&
      predicted.every((classes, i) => {
        const found: unknown = classes
        return found instanceof Int32Array && found.length === losses.length * this.#images.get(request.parts[i]!.id)!
      })
    return this.checkedCall(fits, 'gradient', request)
  }

  update(parameters: Float32Array): Promise<void> {
    return this.call('update', parameters)
  }

  startTrace(): Promise<void> {
    return this.call('startTrace')
  }

  endTrace(): Promise<TracedDevice> {
    return this.call('endTrace')
  }
}
