import { openDevice } from '#platform'
import { deviceKey } from '../../engine/autotune/store.ts'
import { TunedVariants } from '../../engine/autotune/tuned.ts'
import { withDevice } from '../../engine/device/defaultDevice.ts'
import type { TunedJson } from '../../engine/device/kernelSelection.ts'
import {
  Device,
  type DeviceRequest,
  requireFloat16,
  type Tensor,
  type TracedDevice,
  Tracing,
  withoutScope,
} from '../../engine/index.ts'
import { branchShape, createModel, type Mode, type Model, type ModelConfig, type Precision } from '../../model/index.ts'
import { imageTensor, labelTensor } from '../modelInput.ts'
import type { Entries } from '../modelState.ts'
import { LossScale } from '../optim/lossScale.ts'
import { makeScheme, type Objective, type SchemeName } from '../schemes/index.ts'
import { FlatParameters } from './flatParameters.ts'
import { ReplicaPass } from './replicaPass.ts'
import type { GradientRequest, ReplicaWorker, SliceGradient } from './replicaWorker.ts'

/** Everything that a replica is opened with. */
export interface ReplicaSpec {
  /** The index of the device. */
  index: number
  request: DeviceRequest
  config: ModelConfig
  parameters: Entries
  /** The scheme, whose only objective is differentiated. */
  scheme: SchemeName
  /** The mode in which members of an ensemble run. */
  mode: Mode
  eager: boolean
  precision: Precision
  recomputes: boolean
  coalesces: number | undefined
  /** Kernel variants of device 0, which a device of the same kind takes over. */
  tuned?: TunedJson | undefined
}

/** A replica on a device of this process. */
export class LocalReplica implements ReplicaWorker {
  readonly name: string
  readonly lost: Promise<never>
  readonly device: Device
  readonly #model: Model
  readonly #objective: Objective
  readonly #flat: FlatParameters
  readonly #lossScale: LossScale
  readonly #pass: ReplicaPass
  readonly #loaded = new Map<number, { images: Tensor; labels: Tensor }>()
  #tracing: Tracing | undefined

  /** @throws UserError when the device cannot be opened */
  static async open(spec: ReplicaSpec): Promise<LocalReplica> {
    const device = new Device(await openDevice(spec.request), spec.request)
    if (spec.tuned && spec.tuned.device === deviceKey(device.summary)) device.kernels.tuned = new TunedVariants(spec.tuned)
    return withDevice(device, () => new LocalReplica(device, spec))
  }

  private constructor(device: Device, spec: ReplicaSpec) {
    const { index, config, parameters, scheme, mode, eager, precision, recomputes, coalesces } = spec
    if (precision === 'mixed') requireFloat16('mixed precision', device)
    const model = createModel(config)
    model.loadStateDict(parameters)
    model.precision = precision
    model.recomputes = recomputes
    model.coalesces = coalesces
    model.train()
    this.name = `device ${index} (${device.summary.name})`
    this.lost = device.lost.then((error) => {
      throw error
    })
    this.lost.catch(() => {})
    this.device = device
    this.#model = model
    this.#objective = makeScheme(scheme, branchShape(config).branches, { mode }).passes[0]![0]!
    this.#flat = new FlatParameters(model.parameters())
    this.#lossScale = new LossScale({ initial: 1, growthInterval: 0, device })
    this.#pass = new ReplicaPass(model, this.#lossScale.value, eager)
  }

  async load(id: number, images: Float32Array, labels: Int32Array): Promise<void> {
    // They live until `drop`, in whatever scope `load` is called.
    this.#loaded.set(
      id,
      withoutScope(() => {
        return { images: imageTensor(this.#model, images, labels.length), labels: labelTensor(this.#model, labels) }
      }),
    )
  }

  async drop(id: number): Promise<void> {
    const { images, labels } = this.#loaded.get(id) ?? {}
    images?.dispose()
    labels?.dispose()
    this.#loaded.delete(id)
  }

  async gradient({ parts, seed, lossScale }: GradientRequest): Promise<SliceGradient> {
    const { random } = this.device
    random.seed = seed
    this.#lossScale.restore({ scale: lossScale, steady: 0 })
    const reads = parts.map(({ id, share, counter }) => {
      const loaded = this.#loaded.get(id)
      if (!loaded) throw new Error(`${this.name}: images ${id} were not sent`)
      random.counter = counter
      const { losses, predicted } = this.#pass.run(this.#objective, loaded.images, loaded.labels, share)
      const reading = Promise.all([losses.data(), predicted.data()])
      for (const t of [losses, predicted]) t.dispose()
      return reading
    })
    const reading = this.#flat.takeGradients()
    this.device.flush()
    const [gradient, ...found] = await Promise.all([reading, ...reads])
    const losses = new Float32Array(found[0]![0].length)
    for (const [part] of found) for (const [k, loss] of part.entries()) losses[k] = losses[k]! + loss
    return { gradient, losses, predicted: found.map(([, predicted]) => Int32Array.from(predicted)) }
  }

  async update(parameters: Float32Array): Promise<void> {
    this.#flat.write(parameters)
    await this.device.flush()
  }

  async startTrace(): Promise<void> {
    this.#tracing = new Tracing(this.device)
  }

  async endTrace(): Promise<TracedDevice> {
    return { ...(await this.#tracing!.end()), name: this.name }
  }

  hurry(): void {}

  async close(): Promise<void> {
    this.device.destroy()
  }
}
