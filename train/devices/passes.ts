import { addAll, noGrad, scope, stack, type Tensor, tensor, withoutScope } from '../../engine/index.ts'
import { copyInto } from '../../engine/tensor/copies.ts'
import { addInPlace } from '../../engine/tensor/pointwise.ts'
import type { HostMicroBatch } from '../data/microBatch.ts'
import { imageTensor } from '../modelInput.ts'
import type { Objective } from '../schemes/index.ts'
import type { BranchWorker, StemGradient } from './branchWorker.ts'
import { HeadPass } from './headPass.ts'
import type { LocalBranches, LocalRows } from './localBranches.ts'
import type { Findings, PartValues } from './stepValues.ts'
import { Stopwatch } from './stopwatch.ts'
import { Traffic } from './traffic.ts'

/** Images that all devices hold. */
export interface LoadedImages {
  /** Their number on the workers. */
  id: number
  /** The images on device 0. */
  images: Tensor
  count: number
}

/** The result of a forward pass of all devices. */
interface Gathered {
  /** On device 0: [k, B, D] of k branches, or their sum [1, B, D]. */
  outputs: Tensor
  /** The result of device 0's own branches. */
  here: LocalRows
  /** The workers that took part. */
  away: readonly BranchWorker[]
}

/** The result of a micro-batch. */
export interface MicroBatchValues extends PartValues {
  /** The workers that took part. */
  away: readonly BranchWorker[]
}

/** The branches of a forward pass and the form of its result. */
export interface Pass {
  /** Number k of the prefix, whose first k branches take part. */
  branches: number
  /** Whether the result is the rows of each branch, or only their sum. */
  eachBranch: boolean
}

/** Forward and backward passes over all devices, directed from device 0. */
export class Passes {
  readonly traffic = new Traffic()
  /** The time of JavaScript in this process, without waits. */
  readonly host = new Stopwatch()
  readonly #local: LocalBranches
  readonly #workers: readonly BranchWorker[]
  readonly #head: HeadPass
  /** Calls of workers without a result that are not awaited yet. */
  #sent: Promise<void>[] = []
  #loads = 0

  constructor(local: LocalBranches, workers: readonly BranchWorker[]) {
    this.#local = local
    this.#workers = workers
    this.#head = new HeadPass(local.model, () => local.optimizer, local.eager)
  }

  /** Copies images to all devices. */
  load(images: Float32Array, count: number): LoadedImages {
    const id = this.#loads++
    return this.host.time(() => {
      for (const worker of this.#workers) {
        this.traffic.images += images.byteLength
        this.send(worker.load(id, images, count))
      }
      // The images live until `drop`, in whatever scope `load` is called.
      return { id, count, images: withoutScope(() => imageTensor(this.#local.model, images, count)) }
    })
  }

  /** Frees images on all devices. */
  drop({ id, images }: LoadedImages): void {
    this.host.time(() => {
      images.dispose()
      for (const worker of this.#workers) this.send(worker.drop(id))
    })
  }

  /** Keeps a call without a result; a failure of it comes out with the next call that has one. */
  send(call: Promise<void>): void {
    call.catch(() => {})
    this.#sent.push(call)
  }

  #settleSent(): Promise<unknown> {
    const sent = this.#sent
    this.#sent = []
    return Promise.all(sent)
  }

  /** Runs the forward pass of all devices and gathers their rows on device 0. */
  async forward(loaded: LoadedImages, pass: Pass & { differentiate: boolean }, findings: Findings = []): Promise<Gathered> {
    const { here, away, replies } = this.host.time(() => this.#start(loaded, pass))
    const received = await Promise.all(replies)
    await this.#settleSent()
    for (const [i, values] of received.entries()) {
      this.traffic.rows += values.byteLength
      findings.push([`the forward pass of ${away[i]!.name}`, values])
    }
    const { rows } = here
    const outputs = this.host.time(() =>
      pass.eachBranch ? this.#inOrder(rows, received, away, pass.branches) : this.#sum(rows, received),
    )
    return { outputs, here, away }
  }

  /** Starts the forward pass on all devices. */
  #start(
    loaded: LoadedImages,
    pass: Pass & { differentiate: boolean },
  ): Omit<Gathered, 'outputs'> & { replies: Promise<Float32Array>[] } {
    const { device, lossScale, model } = this.#local
    const { seed, counter } = device.random
    const request = { ...pass, lossScale, training: model.training }
    const away = this.#workers.filter(({ own }) => own.some((i) => i < pass.branches))
    const replies = away.map((worker) => worker.forward({ ...request, images: loaded.id, random: { seed, counter } }))
    // When device 0 fails at once, nothing awaits the replies.
    for (const reply of replies) reply.catch(() => {})
    const here = this.#local.forward(loaded.images, request)
    device.flush()
    return { here, away, replies }
  }

  /** Puts the rows of all devices into the model's order, [k, B, D]. */
  #inOrder(rows: Tensor, received: readonly Float32Array[], away: readonly BranchWorker[], branches: number): Tensor {
    const [, B, D] = rows.shape as [number, number, number]
    const size = B * D
    const all = new Float32Array(branches * size)
    for (const [j, { own }] of away.entries()) {
      for (const [at, i] of own.filter((branch) => branch < branches).entries()) {
        all.set(received[j]!.subarray(at * size, (at + 1) * size), i * size)
      }
    }
    const outputs = tensor(all, { shape: [branches, B, D], device: rows.device })
    scope(() => {
      for (const [at, i] of this.#local.active(branches).entries()) {
        copyInto(rows.slice([[at, at + 1]]), outputs.slice([[i, i + 1]]))
      }
    })
    return outputs
  }

  /** Adds up the sums of all devices, [1, B, D]. */
  #sum(rows: Tensor, received: readonly Float32Array[]): Tensor {
    const { shape, device } = rows
    return scope(() => {
      const sums = [rows, ...received.map((values) => tensor(values, { shape, device }))]
      return noGrad(() =>
        addAll(sums)
          .detach()
          .reshape([1, ...shape]),
      )
    })
  }

  /** Runs forward and backward pass of a micro-batch. Gradients stay where their parameters are. */
  async differentiate(
    microBatch: HostMicroBatch & { at: LoadedImages },
    objective: Objective,
    findings: Findings = [],
  ): Promise<MicroBatchValues> {
    const pass = { branches: objective.branches, eachBranch: objective.eachBranch, differentiate: true }
    const gathered = await this.forward(microBatch.at, pass, findings)
    const { away } = gathered
    const [values, means, classes] = await Promise.all(this.host.time(() => this.#turn(microBatch, objective, gathered)))
    findings.push(['the gradient of the loss', values])
    this.host.time(() => this.#sendCotangents(objective, values as Float32Array, away))
    return { losses: means, predicted: classes, away }
  }

  /**
   * Runs head and loss, and the backward pass of device 0's branches.
   * @returns the cotangent of all outputs, losses, predicted classes
   */
  #turn({ labels, share }: HostMicroBatch, objective: Objective, { outputs, here }: Gathered) {
    const { losses, predicted, cotangent } = this.#head.run(objective, outputs, labels, share)
    // The reads come before the branches of device 0 go on, so that the other devices need not wait for these.
    const reads = [cotangent.data(), losses.data(), predicted.data()] as const
    scope(() => {
      const own = objective.eachBranch ? this.#local.active(objective.branches) : [0]
      const mine = stack(
        own.map((i) => cotangent.slice([[i, i + 1]])),
        0,
      ) // [own, 1, B, D]
      here.backward(mine.reshape(here.rows.shape))
    })
    this.#local.device.flush()
    for (const t of [losses, predicted, cotangent, outputs, here]) t.dispose()
    return reads
  }

  /** Sends every worker its part of the gradient of the branches' outputs. */
  #sendCotangents(objective: Objective, values: Float32Array, away: readonly BranchWorker[]): void {
    const size = values.length / (objective.eachBranch ? objective.branches : 1)
    for (const worker of away) {
      const theirs = objective.eachBranch ? worker.own.filter((i) => i < objective.branches) : [0]
      const cotangent = new Float32Array(theirs.length * size)
      for (const [at, i] of theirs.entries()) cotangent.set(values.subarray(i * size, (i + 1) * size), at * size)
      this.traffic.cotangents += cotangent.byteLength
      this.send(worker.backward(cotangent))
    }
  }

  /** Adds the stem's gradients of the workers to those of device 0. @returns the squared norm of the workers' other gradients */
  async gatherStem(away: readonly BranchWorker[], findings: Findings = []): Promise<number> {
    const replies = await Promise.all(this.host.time(() => away.map((worker) => worker.stemGradient())))
    await this.#settleSent()
    return this.host.time(() => this.#addStem(away, replies, findings))
  }

  #addStem(away: readonly BranchWorker[], replies: readonly StemGradient[], findings: Findings): number {
    const { optimizer } = this.#local
    optimizer.gather()
    let total = 0
    scope(() => {
      const sum = this.#local.stem().gradients
      for (const [i, { stem, square }] of replies.entries()) {
        this.traffic.stemGradients += stem.byteLength
        findings.push([`the backward pass of ${away[i]!.name}`, [square]], [`the stem's gradient of ${away[i]!.name}`, stem])
        addInPlace(sum, tensor(stem, { device: sum.device }))
        total += square
      }
    })
    return total
  }

  /** Frees the captured passes of the head. */
  dispose(): void {
    this.#head.dispose()
  }
}
