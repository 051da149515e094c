import { checkBoolean, checkFunction, checkNumber, checkWhole } from '../../engine/base/checks.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { noGrad, scope, type Tensor, type TracedDevice, Tracing } from '../../engine/index.ts'
import { checkPrefix, type ParaFormer } from '../../model/index.ts'
import { type HostMicroBatch, type LabelledImages, splitBatch } from '../data/microBatch.ts'
import { type Entries, type ModelState, readState, takeGradients } from '../modelState.ts'
import type { AdamW } from '../optim/adamW.ts'
import { makeScheme, type Objective } from '../schemes/index.ts'
import type { BranchWorker } from './branchWorker.ts'
import { checkBatch, checkImages, checkSteps } from './checkBatch.ts'
import { FailureRace } from './failureRace.ts'
import type { LocalBranches } from './localBranches.ts'
import { type LoadedImages, type MicroBatchValues, type Pass, Passes } from './passes.ts'
import { added, type Findings, isBad, joined, type StepValues } from './stepValues.ts'
import type { Traffic } from './traffic.ts'

/**
 * A ParaFormer whose branches live on several devices: stem and head on device 0, branch i on device i mod n, optimizer state
 * beside its parameters. Every device computes the stem from the images, so that only these cross: CLS rows and their gradients
 * [B, D], and the stem's gradients and parameters. The numbers are those of one device up to rounding, with the same bits of dropout.
 * All devices get their work before any of them is awaited. `distributeBranches()` makes an instance.
 *
 * When a device is lost, all pending and later calls reject with its error.
 */
export class BranchDevices {
  /** Stem, head and own branches of device 0. */
  readonly model: ParaFormer
  /** @internal */
  readonly workers: readonly BranchWorker[]
  readonly #local: LocalBranches
  readonly #passes: Passes
  readonly #lost: FailureRace
  #queue: Promise<unknown> = Promise.resolve()
  #tracing: Tracing | undefined
  readonly #prefixLosses: Objective[] = []

  /** @param workers the workers of devices 1 to n - 1 @internal */
  constructor(local: LocalBranches, workers: readonly BranchWorker[]) {
    this.model = local.model
    this.workers = workers
    this.#local = local
    this.#passes = new Passes(local, workers)
    this.#lost = new FailureRace([local.device.lost.then((error) => Promise.reject(error)), ...workers.map(({ lost }) => lost)])
  }

  /** Bytes that crossed between devices so far. */
  get traffic(): Traffic {
    return this.#passes.traffic
  }

  /** Milliseconds of JavaScript in this process so far, waits left out. */
  get host(): number {
    return this.#passes.host.total
  }

  /** The optimizer of device 0. */
  get optimizer(): AdamW {
    return this.#local.optimizer
  }

  /**
   * Takes optimizer steps on one mini-batch, after all earlier calls.
   * @param steps objectives with their learning rates
   * @param options.microBatches number of parts in which the mini-batch is computed; default 1
   * @param options.maxNorm global norm to which objectives that clip limit the gradient; default Infinity
   * @returns the values of each step; when one rejects, so do all after it
   * @throws ArgumentError for a batch that does not fit the model, steps that are no objectives with learning rates, and unknown options
   */
  updates(
    batch: LabelledImages,
    steps: readonly { objective: Objective; lr: number }[],
    options: { microBatches?: number; maxNorm?: number } = {},
  ): Promise<StepValues>[] {
    checkBatch('updates', batch, this.model.config)
    checkSteps('updates', steps)
    checkOptions('updates', options, { microBatches: true, maxNorm: true })
    const { microBatches = 1, maxNorm = Number.POSITIVE_INFINITY } = options
    checkWhole('updates', microBatches, 'microBatches')
    checkNumber('updates', maxNorm, 'maxNorm')
    // Images travel while the step before is computed.
    const loaded = splitBatch(batch, microBatches).map((microBatch) => {
      return { ...microBatch, at: this.#passes.load(microBatch.images, microBatch.labels.length) }
    })
    const results = steps.map(({ objective, lr }) =>
      this.#inTurn(() => this.#update(loaded, objective, lr, objective.clip ? maxNorm : Number.POSITIVE_INFINITY)),
    )
    const release = () => {
      for (const { at } of loaded) this.#passes.drop(at)
    }
    this.#queue.then(release, release)
    return results
  }

  /**
   * Runs the branches on their devices, then `head` on device 0, off the tape. Dropout follows `model.training`.
   * @param images normalised, [count, C, H, W]
   * @param head is called with the images on device 0 and the outputs of the branches, for `ForwardOptions.outputs`. Its result must
   *   not hold tensors
   * @throws ArgumentError for images that are not `count` images of the model's shape, and for arguments of a wrong kind
   */
  async infer<T>(images: Float32Array, count: number, pass: Pass, head: (images: Tensor, outputs: Tensor) => T): Promise<T> {
    checkWhole('infer', count, 'count')
    checkImages('infer', images, count, this.model.config)
    checkOptions('infer', pass ?? null, { branches: true, eachBranch: true })
    const branches = checkPrefix(this.model.config, pass.branches)
    checkBoolean('infer', pass.eachBranch, 'eachBranch')
    checkFunction('infer', head, 'head')
    const loaded = this.#passes.load(images, count)
    const run = async () => {
      const { outputs, here } = await this.#passes.forward(loaded, { ...pass, branches, differentiate: false })
      try {
        return this.#passes.host.time(() => {
          const result = attempt(() => scope(() => noGrad(() => head(loaded.images, outputs))))
          this.#local.device.flush()
          return result
        })
      } finally {
        for (const t of [outputs, here]) t.dispose()
      }
    }
    const result = await this.#inTurn(run).finally(() => this.#passes.drop(loaded))
    if ('error' in result) throw result.error
    return result.value
  }

  /**
   * Computes the gradients of the mean cross-entropy of a prefix for every parameter, zeros where it does not reach.
   * @param chunk number of images that are computed at once
   * @throws ArgumentError for a batch that does not fit the model; UserError for a prefix that the model does not have
   */
  async gradients(batch: LabelledImages, branches: number, chunk: number): Promise<Entries> {
    checkBatch('gradients', batch, this.model.config)
    const k = checkPrefix(this.model.config, branches)
    checkWhole('gradients', chunk, 'chunk')
    return this.#inTurn(() => this.#gradients(batch, k, chunk))
  }

  /** Copies all parameters and their optimizer state to the host. */
  async state(): Promise<ModelState> {
    const states = await this.#lost.race(Promise.all([readState(this.#local), ...this.workers.map((worker) => worker.state())]))
    const merged = (pick: (state: ModelState) => Entries) => new Map(states.flatMap((state) => [...pick(state)]))
    return {
      parameters: merged(({ parameters }) => parameters),
      m: merged(({ m }) => m),
      v: merged(({ v }) => v),
      steps: Object.assign({}, ...states.map(({ steps }) => steps)),
    }
  }

  /**
   * Times every dispatch of all devices from the end of all earlier calls to `endTrace`.
   * @throws UserError when a device has no timestamp queries
   */
  startTrace(): Promise<void> {
    return this.#inTurn(async () => {
      this.#tracing = new Tracing(this.#local.device)
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

  /** Ends all workers, and frees everything on device 0. */
  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.close()))
    this.#passes.dispose()
    this.#local.dispose()
  }

  /** Runs `work` after all earlier calls, because a pass overwrites the results of the one before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work)
    this.#queue = run
    return this.#lost.race(run)
  }

  async #update(
    microBatches: readonly (HostMicroBatch & { at: LoadedImages })[],
    objective: Objective,
    lr: number,
    maxNorm: number,
  ): Promise<StepValues> {
    const { optimizer } = this.#local
    const { traffic, host } = this.#passes
    const findings: Findings = []
    const done: MicroBatchValues[] = []
    for (const microBatch of microBatches) done.push(await this.#passes.differentiate(microBatch, objective, findings))
    const elsewhere = await this.#passes.gatherStem(done[0]!.away, findings)
    const update = () => {
      const here = optimizer.gradNorm()
      const norm = here.mul(here).add(elsewhere).sqrt() // [1]
      optimizer.step(lr, maxNorm, norm)
      optimizer.zeroGrad()
      const stem = this.#local.stem().values
      const scale = optimizer.lossScale.value.item()
      const reads = [stem.data(), norm.item(), scale] as const
      this.#local.device.flush()
      return reads
    }
    const [stem, norm, scale] = await Promise.all(host.time(() => scope(update)))
    this.#local.lossScale = scale
    host.time(() => {
      for (const worker of this.workers) {
        traffic.stem += stem.byteLength
        this.#passes.send(worker.update({ lr, maxNorm, square: norm ** 2, stem: stem as Float32Array }))
      }
    })
    const nonFinite = Number.isFinite(norm) ? undefined : findings.find(isBad)?.[0]
    const lossScale = this.model.precision === 'mixed' ? scale : undefined
    return { losses: added(done), predicted: joined(done, microBatches), norm, lossScale, nonFinite }
  }

  /** Returns the loss of a prefix, always the same object, since the head's captures are kept by objective. */
  #prefixLoss(branches: number): Objective {
    this.#prefixLosses[branches] ??= makeScheme('joint', branches).passes[0]![0]!
    return this.#prefixLosses[branches]
  }

  async #gradients(batch: LabelledImages, branches: number, chunk: number): Promise<Entries> {
    const objective = this.#prefixLoss(branches)
    let away: readonly BranchWorker[] = []
    for (const microBatch of splitBatch(batch, Math.ceil(batch.labels.length / chunk))) {
      const at = this.#passes.load(microBatch.images, microBatch.labels.length)
      const done = await this.#passes.differentiate({ ...microBatch, at }, objective)
      this.#passes.drop(at)
      away = done.away
    }
    await this.#passes.gatherStem(away)
    const here = takeGradients(this.model.namedParameters())
    const all = await Promise.all([here, ...this.workers.map((worker) => worker.gradients())])
    return new Map(all.flatMap((entries) => [...entries]))
  }
}

/** Returns the value or the error of a caller's function, since its error must not end later calls. */
function attempt<T>(fn: () => T): { value: T } | { error: unknown } {
  try {
    return { value: fn() }
  } catch (error) {
    return { error }
  }
}
