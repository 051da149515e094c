import { addAll, noGrad, scope, stack, type Tensor, tensor, withoutScope } from '../../engine/index.ts'
import { copyInto } from '../../engine/tensor/copies.ts'
import { addInPlace } from '../../engine/tensor/pointwise.ts'
import type { BatchPart } from '../data/parts.ts'
import type { Objective } from '../schemes.ts'
import { HeadPass } from './headPass.ts'
import type { LocalBranches, LocalRows } from './localBranches.ts'
import { Stopwatch } from './stopwatch.ts'
import { Traffic } from './traffic.ts'
import type { BranchWorker, ForwardRequest, StemGradient } from './worker.ts'

/** Images that all devices hold. */
export interface Loaded {
  id: number
  /** On device 0. */
  images: Tensor
  count: number
}

/** What the branches gave for some images. */
export interface Gathered {
  /** On device 0: [k, B, D] of k branches, or [1, B, D] their sum. */
  outputs: Tensor
  /** Of device 0's own branches. */
  here: LocalRows
  /** Workers that took part. */
  away: readonly BranchWorker[]
}

/** What a part of a mini-batch gave. */
export interface PartValues {
  /** [1] or [m], its share of the mean. */
  losses: ArrayLike<number>
  /** [1 or m, B] */
  predicted: ArrayLike<number>
  /** Workers that took part. */
  away: readonly BranchWorker[]
}

/** What a step found on its way, that the host holds anyway. */
export type Findings = [what: string, values: ArrayLike<number>][]

/** Which branches a forward pass runs and how. */
export type Pass = Pick<ForwardRequest, 'branches' | 'eachBranch'>

/** Forward and backward passes over all devices, seen from device 0. */
export class Passes {
  readonly traffic = new Traffic()
  /** JavaScript of this process so far, without waits. */
  readonly host = new Stopwatch()
  readonly #local: LocalBranches
  readonly #workers: readonly BranchWorker[]
  readonly #head: HeadPass
  /** Calls of workers that answer nothing and are not awaited yet. */
  #sent: Promise<void>[] = []
  #loads = 0

  constructor(local: LocalBranches, workers: readonly BranchWorker[]) {
    this.#local = local
    this.#workers = workers
    this.#head = new HeadPass(local.model, () => local.optimizer, local.eager)
  }

  /** Gives images to all devices. */
  load(images: Float32Array, count: number): Loaded {
    const { channels, imageSize } = this.#local.model.config
    const id = this.#loads++
    return this.host.time(() => {
      for (const worker of this.#workers) {
        this.traffic.images += images.byteLength
        this.send(worker.load(id, images, count))
      }
      const { device } = this.#local
      // Until `drop`, whatever scope it is asked for in.
      const there = withoutScope(() => tensor(images, { shape: [count, channels, imageSize, imageSize], device }))
      return { id, count, images: there }
    })
  }

  drop({ id, images }: Loaded): void {
    this.host.time(() => {
      images.dispose()
      for (const worker of this.#workers) this.send(worker.drop(id))
    })
  }

  /** A call that answers nothing: its failure is found with the next one that does. */
  send(call: Promise<void>): void {
    call.catch(() => {})
    this.#sent.push(call)
  }

  #settleSent(): Promise<unknown> {
    const sent = this.#sent
    this.#sent = []
    return Promise.all(sent)
  }

  async forward(loaded: Loaded, pass: Pass & { differentiate: boolean }, findings: Findings = []): Promise<Gathered> {
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

  /** Sets all devices to a forward pass. */
  #start(
    loaded: Loaded,
    pass: Pass & { differentiate: boolean },
  ): Omit<Gathered, 'outputs'> & { replies: Promise<Float32Array>[] } {
    const { device, lossScale, model } = this.#local
    const { seed, counter } = device.random
    const request = { ...pass, lossScale, training: model.training }
    const away = this.#workers.filter(({ own }) => own.some((i) => i < pass.branches))
    const replies = away.map((worker) => worker.forward({ ...request, images: loaded.id, random: { seed, counter } }))
    // Where device 0 fails at once, nobody waits for them.
    for (const reply of replies) reply.catch(() => {})
    const here = this.#local.forward(loaded.images, request)
    device.flush()
    return { here, away, replies }
  }

  /** [k, B, D] of the branches in the model's order, from what devices gave of theirs. */
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

  /** [1, B, D], the sum of what devices gave. */
  #sum(rows: Tensor, received: readonly Float32Array[]): Tensor {
    const { shape, device } = rows
    return scope(() => {
      const parts = [rows, ...received.map((values) => tensor(values, { shape, device }))]
      return noGrad(() =>
        addAll(parts)
          .detach()
          .reshape([1, ...shape]),
      )
    })
  }

  /** Forward and backward pass of one part of a mini-batch. Gradients stay where their parameters are. */
  async differentiate(part: BatchPart & { at: Loaded }, objective: Objective, findings: Findings = []): Promise<PartValues> {
    const pass = { branches: objective.branches, eachBranch: objective.eachBranch, differentiate: true }
    const gathered = await this.forward(part.at, pass, findings)
    const { away } = gathered
    const [values, means, classes] = await Promise.all(this.host.time(() => this.#turn(part, objective, gathered)))
    findings.push(['the gradient of the loss', values])
    this.host.time(() => this.#sendCotangents(objective, values as Float32Array, away))
    return { losses: means, predicted: classes, away }
  }

  /** Head and loss, and the way back of device 0's branches. @returns the cotangent of all outputs, losses, predicted classes */
  #turn(part: BatchPart, objective: Objective, { outputs, here }: Gathered) {
    const { losses, predicted, cotangent } = this.#head.run(objective, outputs, part.labels, part.share)
    // Before the branches of device 0 go on, so that the others need not wait for them.
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

  /** Sends every device its part of the gradient of the branches' outputs. */
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

  /** Adds the stem's gradients of other devices to those here. @returns the squared norm of the gradients that stay there */
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

  /** Frees what was recorded. */
  dispose(): void {
    this.#head.dispose()
  }
}
