import { openDevice } from '#platform'
import { zeroGrad } from '../../engine/autograd/backward.ts'
import { deviceKey } from '../../engine/autotune/store.ts'
import { TunedVariants } from '../../engine/autotune/tuned.ts'
import { withDevice } from '../../engine/device/defaultDevice.ts'
import type { TunedJson } from '../../engine/device/kernelSelection.ts'
import {
  Device,
  type DeviceRequest,
  requireFloat16,
  scope,
  type Tensor,
  type TracedDevice,
  Tracing,
  tensor,
  withoutScope,
} from '../../engine/index.ts'
import { ParaFormer, type ParaFormerConfig, type Precision, type StateEntry } from '../../model/index.ts'
import { imageTensor } from '../modelInput.ts'
import { type Entries, isBranch, type ModelState, partOf, readState, restoreMoments, takeGradients } from '../modelState.ts'
import type { AdamWSettings } from '../optim/adamW.ts'
import type { BranchWorker, ForwardRequest, StemGradient, UpdateRequest } from './branchWorker.ts'
import { LocalBranches, type LocalRows, type RunOptions } from './localBranches.ts'

/** Everything that a worker is opened with. */
export interface BranchWorkerSpec {
  /** The index of the device. */
  index: number
  request: DeviceRequest
  config: ParaFormerConfig
  own: readonly number[]
  /** Parameters of the stem. */
  stem: Entries
  /** State of the worker's branches. */
  branches: ModelState
  adamW: Partial<AdamWSettings>
  precision: Precision
  recomputes: boolean
  coalesces: number | undefined
  how: RunOptions
  /** Kernel variants of device 0, which a device of the same kind takes over. */
  tuned?: TunedJson | undefined
}

/** A worker on a device of this process. */
export class LocalBranchWorker implements BranchWorker {
  readonly name: string
  readonly own: readonly number[]
  readonly lost: Promise<never>
  readonly device: Device
  readonly #local: LocalBranches
  readonly #images = new Map<number, Tensor>()
  /** The result of the last `forward`, until `backward` gets its gradient. */
  #pending: LocalRows | undefined
  #tracing: Tracing | undefined

  /** @throws UserError when the device cannot be opened */
  static async open(spec: BranchWorkerSpec): Promise<LocalBranchWorker> {
    const device = new Device(await openDevice(spec.request), spec.request)
    if (spec.tuned && spec.tuned.device === deviceKey(device.summary)) device.kernels.tuned = new TunedVariants(spec.tuned)
    return withDevice(device, () => new LocalBranchWorker(device, spec))
  }

  private constructor(device: Device, spec: BranchWorkerSpec) {
    const { index, config, own, stem, branches, adamW, precision, recomputes, coalesces, how } = spec
    if (precision === 'mixed') requireFloat16('mixed precision', device)
    const model = new ParaFormer(config, { own })
    model.precision = precision
    model.recomputes = recomputes
    model.coalesces = coalesces
    this.name = `device ${index} (${device.summary.name})`
    this.own = own
    this.lost = device.lost.then((error) => {
      throw error
    })
    this.lost.catch(() => {})
    this.device = device
    this.#local = new LocalBranches(model, adamW, how)
    const head = Object.entries(model.stateDict()).filter(([name]) => name.startsWith('head.'))
    model.loadStateDict(new Map<string, StateEntry>([...head, ...stem, ...branches.parameters]))
    if (branches.m.size > 0) restoreMoments(this.#local.optimizer, branches)
  }

  async load(id: number, images: Float32Array, count: number): Promise<void> {
    // The images live until `drop`, in whatever scope `load` is called.
    this.#images.set(
      id,
      withoutScope(() => imageTensor(this.#local.model, images, count)),
    )
  }

  async drop(id: number): Promise<void> {
    this.#images.get(id)?.dispose()
    this.#images.delete(id)
  }

  async forward(request: ForwardRequest): Promise<Float32Array> {
    const images = this.#images.get(request.images)
    if (!images) throw new Error(`${this.name}: images ${request.images} were not sent`)
    const { random } = this.device
    random.seed = request.random.seed
    random.counter = request.random.counter
    this.#pending?.dispose()
    this.#pending = undefined
    const found = this.#local.forward(images, request)
    const reading = found.rows.data()
    this.device.flush()
    if (request.differentiate) {
      this.#pending = found
      // Only device 0 changes the loss scale.
      this.#local.optimizer.lossScale.restore({ scale: request.lossScale, steady: 0 })
    } else found.dispose()
    return (await reading) as Float32Array
  }

  async backward(cotangent: Float32Array): Promise<void> {
    const found = this.#pending
    if (!found) throw new Error(`${this.name}: backward without forward`)
    this.#pending = undefined
    scope(() => found.backward(tensor(cotangent, { shape: found.rows.shape, device: this.device })))
    found.dispose()
    await this.device.flush()
  }

  async stemGradient(): Promise<StemGradient> {
    const { optimizer, stemParameters } = this.#local
    optimizer.gather()
    const reads = scope(() => {
      const reading = this.#local.stem().gradients.data()
      zeroGrad(stemParameters)
      return [reading, optimizer.gradNorm().item()] as const
    })
    this.device.flush()
    const [stem, norm] = await Promise.all(reads)
    return { stem: stem as Float32Array, square: norm ** 2 }
  }

  async update({ lr, maxNorm, square, stem }: UpdateRequest): Promise<void> {
    const { optimizer, model } = this.#local
    scope(() => {
      if (model.parameters().some(({ grad }) => grad)) {
        optimizer.step(lr, maxNorm, tensor([Math.sqrt(square)], { device: this.device }))
        optimizer.zeroGrad()
      }
      this.#local.stem().values.write(stem)
    })
    await this.device.flush()
  }

  gradients(): Promise<Entries> {
    return takeGradients(this.#local.model.namedParameters().filter(([name]) => isBranch(name)))
  }

  state(): Promise<ModelState> {
    return readState(this.#local).then((state) => partOf(state, isBranch))
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
