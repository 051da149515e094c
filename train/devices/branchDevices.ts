import { checkBoolean, checkFunction, checkNumber, checkWhole } from '../../engine/base/checks.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { noGrad, scope, type Tensor, type TracedDevice, Tracing } from '../../engine/index.ts'
import { checkPrefix, type ParaFormer } from '../../model/index.ts'
import { type BatchPart, type LabelledImages, partsOf } from '../data/parts.ts'
import type { AdamW } from '../optim/adamW.ts'
import { makeScheme, type Objective } from '../schemes.ts'
import { checkBatch, checkImages, checkSteps } from './checkBatch.ts'
import type { LocalBranches } from './localBranches.ts'
import { takeGradients, takeState } from './partState.ts'
import { type Findings, type Loaded, type PartValues, type Pass, Passes } from './passes.ts'
import type { Traffic } from './traffic.ts'
import { Waiting } from './waiting.ts'
import type { BranchWorker, Entries, PartState } from './worker.ts'

/** What is known of an optimizer step after it. */
export interface StepValues {
  /** [1] or [m], mean over the batch, before the step. */
  losses: number[]
  /** Predicted classes [1 or m, B], before the step. */
  predicted: ArrayLike<number>
  /** Of the gradient, before clipping. */
  norm: number
  /** Of the next step, in mixed precision. */
  lossScale?: number | undefined
  /** What was first found not to be finite, if anything. */
  nonFinite?: string | undefined
}

/**
 * A ParaFormer whose branches live on several devices: stem and head on device 0, branch i on device i mod n, optimizer state
 * beside its parameters. Every device computes the stem from the images, so that only CLS rows and their gradients [B, D] cross, and the
 * stem's gradients and parameters. Numbers are those of one device but for rounding, and bits of dropout the same. All devices are given
 * their work before any is waited for. `distributeBranches()` makes one.
 *
 * When a device is gone, all that waits and all later calls reject with its error, whatever else is going on.
 */
export class BranchDevices {
  /** On device 0: stem, head and its own branches. */
  readonly model: ParaFormer
  readonly workers: readonly BranchWorker[]
  readonly #local: LocalBranches
  readonly #passes: Passes
  readonly #waiting: Waiting
  #queue: Promise<unknown> = Promise.resolve()
  #tracing: Tracing | undefined
  readonly #prefixLosses: Objective[] = []

  /** @param workers devices 1 to n - 1 */
  constructor(local: LocalBranches, workers: readonly BranchWorker[]) {
    this.model = local.model
    this.workers = workers
    this.#local = local
    this.#passes = new Passes(local, workers)
    this.#waiting = new Waiting([local.device.lost.then((error) => Promise.reject(error)), ...workers.map(({ lost }) => lost)])
  }

  /** What crossed between devices so far. */
  get traffic(): Traffic {
    return this.#passes.traffic
  }

  /** Milliseconds of JavaScript in this process so far, waits left out. */
  get host(): number {
    return this.#passes.host.total
  }

  /** Of device 0. */
  get optimizer(): AdamW {
    return this.#local.optimizer
  }

  /**
   * Optimizer steps on one mini-batch, after all that were asked for before.
   * @param steps objectives with their learning rates
   * @param options.parts in which the mini-batch is computed
   * @param options.maxNorm for objectives that clip
   * @returns of each step its values; when one rejects, so do all after it
   * @throws ArgumentError for a batch that does not fit the model, steps that are no objectives with learning rates, and unknown options
   */
  updates(
    batch: LabelledImages,
    steps: readonly { objective: Objective; lr: number }[],
    options: { parts?: number; maxNorm?: number } = {},
  ): Promise<StepValues>[] {
    checkBatch('updates', batch, this.model.config)
    checkSteps('updates', steps)
    checkOptions('updates', options, { parts: true, maxNorm: true })
    const { parts = 1, maxNorm = Number.POSITIVE_INFINITY } = options
    checkWhole('updates', parts, 'parts')
    checkNumber('updates', maxNorm, 'maxNorm')
    // Images travel while the step before is computed.
    const loaded = partsOf(batch, parts).map((part) => ({ ...part, at: this.#passes.load(part.images, part.labels.length) }))
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
   * Branches run on their devices, then `head` on device 0, off the tape; dropout as `model.training` says.
   * @param images normalised, [count, C, H, W]
   * @param head of the images on device 0 and what the branches gave, for `ForwardOptions.outputs`; what it returns must not hold tensors
   * @throws ArgumentError for images that are not so many of the model's, and for what is no pass or function
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
   * Gradients of the mean cross-entropy of a prefix for every parameter, zeros where it does not reach.
   * @param chunk images computed at once
   * @throws ArgumentError for a batch that does not fit the model; UserError for a prefix that it does not have
   */
  async gradients(batch: LabelledImages, branches: number, chunk: number): Promise<Entries> {
    checkBatch('gradients', batch, this.model.config)
    const k = checkPrefix(this.model.config, branches)
    checkWhole('gradients', chunk, 'chunk')
    return this.#inTurn(() => this.#gradients(batch, k, chunk))
  }

  /** All parameters and their optimizer state, copied to the host. */
  async state(): Promise<PartState> {
    const states = await this.#waiting.for(
      Promise.all([takeState(this.#local), ...this.workers.map((worker) => worker.state())]),
    )
    const merged = (pick: (state: PartState) => Entries) => new Map(states.flatMap((state) => [...pick(state)]))
    return {
      parameters: merged(({ parameters }) => parameters),
      m: merged(({ m }) => m),
      v: merged(({ v }) => v),
      steps: Object.assign({}, ...states.map(({ steps }) => steps)),
    }
  }

  /**
   * Times every dispatch of all devices after what was asked for before, until `endTrace`.
   * @throws UserError when a device has no timestamp queries
   */
  startTrace(): Promise<void> {
    return this.#inTurn(async () => {
      this.#tracing = new Tracing(this.#local.device)
      await Promise.all(this.workers.map((worker) => worker.startTrace()))
    })
  }

  /** @returns what each device did, device 0 first */
  endTrace(): Promise<TracedDevice[]> {
    return this.#inTurn(async () => {
      const [here, ...away] = await Promise.all([this.#tracing!.end(), ...this.workers.map((worker) => worker.endTrace())])
      return [{ ...here, name: `device 0 (${here.name})` }, ...away]
    })
  }

  /** From now on a device that does not answer for some seconds is lost: this process is to end soon. */
  hurry(): void {
    for (const worker of this.workers) worker.hurry()
  }

  /** Ends all devices but device 0, where it frees everything. */
  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.close()))
    this.#passes.dispose()
    this.#local.dispose()
  }

  /** Runs `work` after all that came before: passes overwrite what the one before left on the devices. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work)
    this.#queue = run
    return this.#waiting.for(run)
  }

  async #update(
    parts: readonly (BatchPart & { at: Loaded })[],
    objective: Objective,
    lr: number,
    maxNorm: number,
  ): Promise<StepValues> {
    const { optimizer } = this.#local
    const { traffic, host } = this.#passes
    const findings: Findings = []
    const done: PartValues[] = []
    for (const part of parts) done.push(await this.#passes.differentiate(part, objective, findings))
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
    return { losses: added(done), predicted: joined(done, parts), norm, lossScale, nonFinite }
  }

  /** The loss of a prefix; always the same object, under which its head is recorded. */
  #prefixLoss(branches: number): Objective {
    this.#prefixLosses[branches] ??= makeScheme('joint', branches).passes[0]![0]!
    return this.#prefixLosses[branches]
  }

  async #gradients(batch: LabelledImages, branches: number, chunk: number): Promise<Entries> {
    const objective = this.#prefixLoss(branches)
    let away: readonly BranchWorker[] = []
    for (const part of partsOf(batch, Math.ceil(batch.labels.length / chunk))) {
      const at = this.#passes.load(part.images, part.labels.length)
      const done = await this.#passes.differentiate({ ...part, at }, objective)
      this.#passes.drop(at)
      away = done.away
    }
    await this.#passes.gatherStem(away)
    const here = takeGradients(this.model.namedParameters())
    const all = await Promise.all([here, ...this.workers.map((worker) => worker.gradients())])
    return new Map(all.flatMap((entries) => [...entries]))
  }
}

/** What a caller's function gives or throws; its error is its own and ends nothing that comes after. */
function attempt<T>(fn: () => T): { value: T } | { error: unknown } {
  try {
    return { value: fn() }
  } catch (error) {
    return { error }
  }
}

/** The losses of a mini-batch. */
function added(parts: readonly PartValues[]): number[] {
  return Array.from(parts[0]!.losses, (_, k) => parts.reduce((sum, { losses }) => sum + losses[k]!, 0))
}

/** Predicted classes [1 or m, B] of a mini-batch from those of its parts. */
function joined(values: readonly PartValues[], parts: readonly LabelledImages[]): number[] {
  const prefixes = values[0]!.losses.length
  return Array.from({ length: prefixes }, (_, k) =>
    values.flatMap(({ predicted }, i) => {
      const B = parts[i]!.labels.length
      return Array.from({ length: B }, (_, b) => predicted[k * B + b]!)
    }),
  ).flat()
}

function isBad([, values]: Findings[number]): boolean {
  return !Array.prototype.every.call(values, Number.isFinite)
}
