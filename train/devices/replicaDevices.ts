import { scope, type Tensor, type TracedDevice, Tracing, withoutScope } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import { type HostMicroBatch, type LabelledImages, splitBatch } from '../data/microBatch.ts'
import { imageTensor, labelTensor } from '../modelInput.ts'
import type { Ema } from '../optim/ema.ts'
import type { Optimizer } from '../optim/optimizer.ts'
import type { Objective } from '../schemes/index.ts'
import { FailureRace } from './failureRace.ts'
import { FlatParameters } from './flatParameters.ts'
import { ReplicaPass } from './replicaPass.ts'
import type { ReplicaWorker, SliceGradient } from './replicaWorker.ts'
import { added, type Findings, isBad, joined, type PartValues, type StepValues } from './stepValues.ts'

/** A micro-batch and the number under which its device holds it. */
interface Part extends HostMicroBatch {
  id: number
}

/** A micro-batch of device 0. */
interface LocalPart extends Part {
  on: { images: Tensor; labels: Tensor }
}

/** The slices of a mini-batch. */
interface Slices {
  here: readonly LocalPart[]
  /** Those of the workers that have one, in the order of the devices. */
  away: readonly { worker: ReplicaWorker; parts: readonly Part[] }[]
}

/** Bytes that crossed between device 0 and the replicas. */
export interface ReplicaTraffic {
  images: number
  gradients: number
  parameters: number
}

/**
 * Data parallelism: each device has the whole model and computes the gradient of its slice of every mini-batch. Device 0 adds the gradients in
 * the order of the devices, whenever they arrive, steps, and sends the parameters. So the optimizer's state is on device 0 alone, all
 * devices begin a step with the same parameters, and bits depend on the number of devices only. The numbers are those of one device that
 * accumulates as many micro-batches, up to rounding, with the same bits of dropout. `replicate()` makes an instance.
 *
 * When a device is lost, all pending and later calls reject with its error.
 */
export class ReplicaDevices {
  readonly workers: readonly ReplicaWorker[]
  readonly traffic: ReplicaTraffic = { images: 0, gradients: 0, parameters: 0 }
  readonly #model: Model
  readonly #optimizer: Optimizer
  readonly #ema: Ema | undefined
  readonly #flat: FlatParameters
  readonly #pass: ReplicaPass
  readonly #lost: FailureRace
  /** Random streams that a pass takes, by objective. */
  readonly #draws = new Map<Objective, number>()
  #lossScale: number
  #queue: Promise<unknown> = Promise.resolve()
  #sent: Promise<void>[] = []
  #loads = 0
  #tracing: Tracing | undefined

  /** @param options `lossScale` is that of the next step @internal */
  constructor(
    model: Model,
    optimizer: Optimizer,
    workers: readonly ReplicaWorker[],
    options: { ema: Ema | undefined; eager: boolean; lossScale: number },
  ) {
    const { ema, eager, lossScale } = options
    this.workers = workers
    this.#model = model
    this.#optimizer = optimizer
    this.#ema = ema
    this.#lossScale = lossScale
    this.#flat = new FlatParameters(model.parameters())
    this.#pass = new ReplicaPass(model, optimizer.lossScale.value, eager)
    this.#lost = new FailureRace([model.device.lost.then((error) => Promise.reject(error)), ...workers.map(({ lost }) => lost)])
  }

  /**
   * Takes optimizer steps on one mini-batch, after all earlier calls.
   * @param steps objectives with their learning rates
   * @param options.microBatches number of parts in which each device computes its slice; default 1
   * @param options.maxNorm global norm to which objectives that clip limit the gradient; default Infinity
   * @returns the values of each step; when one rejects, so do all after it
   */
  updates(
    batch: LabelledImages,
    steps: readonly { objective: Objective; lr: number }[],
    options: { microBatches?: number; maxNorm?: number } = {},
  ): Promise<StepValues>[] {
    const { microBatches = 1, maxNorm = Number.POSITIVE_INFINITY } = options
    // Images travel while the step before is computed.
    const slices = this.#load(batch, microBatches)
    const results = steps.map(({ objective, lr }) =>
      this.#inTurn(() => this.#update(slices, objective, lr, objective.clip ? maxNorm : Number.POSITIVE_INFINITY)),
    )
    const release = () => this.#drop(slices)
    this.#queue.then(release, release)
    return results
  }

  /** Times every dispatch of all devices until `endTrace`. @throws UserError when a device has no timestamp queries */
  startTrace(): Promise<void> {
    return this.#inTurn(async () => {
      this.#tracing = new Tracing(this.#model.device)
      await Promise.all(this.workers.map((worker) => worker.startTrace()))
    })
  }

  /** @returns the trace of each device, device 0 first */
  endTrace(): Promise<TracedDevice[]> {
    return this.#inTurn(async () => {
      const [here, ...away] = await Promise.all([this.#tracing!.end(), ...this.workers.map((worker) => worker.endTrace())])
      return [{ ...here, name: `device 0 (${here.name})` }, ...away]
    })
  }

  /** Shortens the silence after which a device counts as lost to some seconds, for a process that ends soon. */
  hurry(): void {
    for (const worker of this.workers) worker.hurry()
  }

  /** Ends all workers. Model and optimizer live on. */
  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.close()))
    this.#pass.dispose()
    this.#flat.dispose()
  }

  #load(batch: LabelledImages, microBatches: number): Slices {
    const all = splitBatch(batch, microBatches * (this.workers.length + 1)).map((part) => ({ ...part, id: this.#loads++ }))
    const sliceOf = (device: number) => all.slice(device * microBatches, (device + 1) * microBatches)
    const here = sliceOf(0).map((part): LocalPart => {
      const { images, labels } = part
      const copy = () => ({ images: imageTensor(this.#model, images, labels.length), labels: labelTensor(this.#model, labels) })
      // They live until `#drop`, in whatever scope this is called.
      return { ...part, on: withoutScope(copy) }
    })
    const away = this.workers.map((worker, i) => ({ worker, parts: sliceOf(i + 1) })).filter(({ parts }) => parts.length > 0)
    for (const { worker, parts } of away)
      for (const { id, images, labels } of parts) {
        this.traffic.images += images.byteLength
        this.#send(worker.load(id, images, labels))
      }
    return { here, away }
  }

  #drop({ here, away }: Slices): void {
    for (const { on } of here) for (const t of [on.images, on.labels]) t.dispose()
    for (const { worker, parts } of away) for (const { id } of parts) this.#send(worker.drop(id))
  }

  /** Keeps a call without a result; a failure of it comes out with the next gradients. */
  #send(call: Promise<void>): void {
    call.catch(() => {})
    this.#sent.push(call)
  }

  /** Runs `work` after all earlier calls. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work)
    this.#queue = run
    return this.#lost.race(run)
  }

  async #update({ here, away }: Slices, objective: Objective, lr: number, maxNorm: number): Promise<StepValues> {
    const { random } = this.#model.device
    const { seed, counter: first } = random
    this.#model.train()
    const run = ({ on, share }: LocalPart) => {
      const { losses, predicted } = this.#pass.run(objective, on.images, on.labels, share)
      const reading = Promise.all([losses.data(), predicted.data()])
      for (const t of [losses, predicted]) t.dispose()
      reading.catch(() => {})
      return reading
    }
    const reads: ReturnType<typeof run>[] = []
    // The first pass of an objective shows how many streams it takes, before the others can be told where theirs begin.
    if (!this.#draws.has(objective)) {
      reads.push(run(here[0]!))
      this.#draws.set(objective, random.counter - first)
    }
    const draws = this.#draws.get(objective)!
    let counter = first + here.length * draws
    const replies = away.map(({ worker, parts }) => {
      const sent = parts.map(({ id, share }) => {
        const part = { id, share, counter }
        counter += draws
        return part
      })
      return worker.gradient({ parts: sent, seed, lossScale: this.#lossScale })
    })
    // When device 0 fails at once, nothing awaits the replies.
    for (const reply of replies) reply.catch(() => {})
    for (const part of here.slice(reads.length)) reads.push(run(part))
    this.#model.device.flush()
    random.counter = counter
    const received = await Promise.all(replies)
    const sent = this.#sent
    this.#sent = []
    await Promise.all(sent)
    const [norm, scale] = await this.#step(received, lr, maxNorm)
    const found = await Promise.all(reads)
    const values = found.map(([losses, predicted]): PartValues => ({ losses, predicted }))
    const all = [...here, ...away.flatMap(({ parts }) => parts)]
    const sum = [...values, ...received].map(({ losses }) => ({ losses, predicted: [] }))
    const predicted = [
      ...values,
      ...received.flatMap(({ losses, predicted }) => predicted.map((one) => ({ losses, predicted: one }))),
    ]
    const findings: Findings = away.map(({ worker }, i) => [`the gradient of ${worker.name}`, received[i]!.gradient])
    const nonFinite = Number.isFinite(norm) ? undefined : (findings.find(isBad)?.[0] ?? 'the gradient of device 0')
    const lossScale = this.#model.precision === 'mixed' ? scale : undefined
    return { losses: added(sum), predicted: joined(predicted, all), norm, lossScale, nonFinite }
  }

  /** Adds the gradients up, steps, and sends the parameters. @returns the global norm of the gradient, and the next loss scale */
  async #step(received: readonly SliceGradient[], lr: number, maxNorm: number): Promise<[norm: number, scale: number]> {
    const optimizer = this.#optimizer
    const [reading, ...scalars] = scope(() => {
      optimizer.gather()
      for (const { gradient } of received) this.#flat.addGradients(gradient)
      const norm = optimizer.step(lr, maxNorm)
      optimizer.zeroGrad()
      this.#ema?.update()
      const reads = [this.#flat.values(), norm.item(), optimizer.lossScale.value.item()] as const
      this.#model.device.flush()
      return reads
    })
    const [values, norm, scale] = await Promise.all([reading, ...scalars])
    this.#lossScale = scale
    for (const { gradient } of received) this.traffic.gradients += gradient.byteLength
    for (const worker of this.workers) {
      this.traffic.parameters += values.byteLength
      this.#send(worker.update(values))
    }
    return [norm, scale]
  }
}
