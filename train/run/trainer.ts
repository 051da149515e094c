import type { Tensor } from '../../engine/index.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { branchShape } from '../../model/index.ts'
import type { Batch, Chosen } from '../data/batch.ts'
import { Purpose } from '../data/random.ts'
import type { StepValues } from '../devices/stepValues.ts'
import { evaluate } from '../evaluate.ts'
import { type Schedule, schedule } from '../optim/schedule.ts'
import {
  type CapturedStep,
  captureStep,
  FlopCounter,
  instantiate,
  type MicroBatch,
  type Objective,
  optimizerStep,
  type Scheme,
  type StepPlace,
  type StepResult,
  schemeOf,
  stepsAt,
  updatesOf,
} from '../schemes/index.ts'
import type { Settings } from '../settings.ts'
import type { LoopState, SavedModel, SavedOptimizer } from './checkpoint.ts'
import { HostImages, type ImageSource } from './imageSource.ts'
import type { Position, TrainingState } from './metadata.ts'
import { accuracies, microBatches, readStep } from './microBatches.ts'
import { findNonFinite, nonFiniteError } from './nonFinite.ts'
import { checkResumable, placeBefore } from './position.ts'
import { severalDevices, type TrainerHooks, type TrainerParts } from './trainerParts.ts'

/** Mini-batches submitted before the host waits for the first: enough to keep the device busy, few enough to stop soon. */
const AHEAD = 2

/** The loss scale below which a gradient that is not finite ends the training, since a smaller scale would not help. */
const MIN_LOSS_SCALE = 1

/** The training loop over epochs, passes and mini-batches, which can begin at any position. */
export class Trainer {
  readonly parts: TrainerParts
  readonly scheme: Scheme
  readonly history: TrainingState['history'] = []
  position: Position = { epoch: 0, pass: 0, batch: 0, step: 0, updates: 0 }
  /** Seconds of training until `run()` began or ended, those before a resumption included; see `elapsed`. */
  seconds = 0
  /** Counted floating-point operations of the training so far. */
  readonly flops: FlopCounter
  readonly #schedule: Schedule
  readonly #sources: { train: ImageSource; evaluation: ImageSource }
  readonly #captured = new Map<Objective, CapturedStep>()
  /** Number of mini-batches with known losses, plus number of evaluations: a measure of progress. */
  reached = 0
  #began = 0
  #lossWasNotFinite = false
  /** The epoch whose evaluation comes next, before any mini-batch. */
  #due: number | undefined

  constructor(parts: TrainerParts) {
    const { settings, model, mode = 'serial', scheme = schemeOf(settings.scheme) } = parts
    this.parts = parts
    this.flops = new FlopCounter(model.config)
    const { train, evaluation } = parts
    this.#sources = parts.sources ?? { train: new HostImages(model, train), evaluation: new HostImages(model, evaluation) }
    const { prefixWeights: weights, hinge } = settings
    this.scheme = instantiate(scheme, branchShape(model.config).branches, { weights, hinge, mode })
    const updatesPerEpoch = updatesOf(this.scheme).reduce((sum, count) => sum + count, 0) * parts.train.stepsPerEpoch
    const total = this.totalSteps * (updatesPerEpoch / this.stepsPerEpoch)
    this.#schedule = schedule(settings.schedule, { lr: settings.lr, warmup: settings.warmup, total })
  }

  /** Mini-batches in an epoch, all passes together. */
  get stepsPerEpoch(): number {
    return this.parts.train.stepsPerEpoch * this.scheme.passes.length
  }

  /** Mini-batches in the whole run. */
  get totalSteps(): number {
    return this.#stepsOf(this.parts.settings)
  }

  #stepsOf({ epochs, maxSteps = Number.POSITIVE_INFINITY }: Settings): number {
    return Math.min(epochs * this.stepsPerEpoch, maxSteps)
  }

  /** Continues from a saved state. @throws UserError when the settings end the run before it, or at it without an evaluation */
  resume(state: TrainingState): void {
    const ends = { end: this.totalSteps, endBefore: this.#stepsOf(state.settings) }
    checkResumable(state, ends, this.scheme, this.parts.train.stepsPerEpoch)
    this.position = { ...state.position }
    this.seconds = state.seconds
    this.flops.total = state.flops
    for (const evaluation of state.history) this.history.push(evaluation)
    this.reached = state.position.step + this.history.length
    if (state.evaluationDue) this.#due = placeBefore(this.position, this.scheme).epoch
    const { random } = this.parts.device
    random.seed = state.random.seed
    random.counter = state.random.counter
  }

  /** Whether the evaluation at this position comes next. */
  get evaluationDue(): boolean {
    return this.#due !== undefined
  }

  /** Seconds of training so far. */
  get elapsed(): number {
    return this.seconds + (this.#began ? (performance.now() - this.#began) / 1000 : 0)
  }

  /** Returns the state of the loop for a checkpoint. */
  state(): LoopState {
    const { seed, counter } = this.parts.device.random
    return {
      settings: this.parts.settings,
      position: { ...this.position },
      random: { seed, counter },
      history: [...this.history],
      evaluationDue: this.evaluationDue,
      seconds: this.elapsed,
      flops: this.flops.total,
      variants: this.parts.device.kernels.tuned?.toJSON(),
    }
  }

  /** Returns model and optimizer for a checkpoint, gathered from all devices. */
  async saved(): Promise<{ model: SavedModel; optimizer: SavedOptimizer }> {
    const { model, optimizer, distributed } = this.parts
    if (!distributed) return { model, optimizer }
    const { parameters, m, v, steps } = await distributed.state()
    const whole = { config: model.config, stateDict: () => Object.fromEntries(parameters) }
    return { model: whole, optimizer: { state: () => ({ m, v }), steps: async () => steps, lossScale: optimizer.lossScale } }
  }

  /** Returns the model that training made: with averages of the parameters, where the run has them. */
  async result(): Promise<SavedModel> {
    const { ema } = this.parts
    const { model } = await this.saved()
    if (!ema) return model
    return { config: model.config, stateDict: () => ({ ...model.stateDict(), ...ema.stateDict() }) }
  }

  /**
   * Trains to the end, or until `shouldStop`.
   * @returns whether it came to the end
   * @throws UserError when a loss or gradient is not finite (in mixed precision: stays so), with the op that made it so; that step
   *   has changed nothing. DeviceLostError when the device is lost; the run can go on with another trainer from a saved state
   */
  async run(hooks: TrainerHooks = {}): Promise<boolean> {
    this.#began = performance.now()
    this.parts.model.train()
    const inFlight: Promise<void>[] = []
    try {
      return await this.#loop(inFlight, hooks)
    } catch (error) {
      // Another trainer may go on, so this one must not report anything later.
      await Promise.allSettled(inFlight)
      throw error
    } finally {
      this.seconds = this.elapsed
      this.#began = 0
    }
  }

  async #loop(inFlight: Promise<void>[], hooks: TrainerHooks): Promise<boolean> {
    const { train, saveEvery } = this.parts
    const drain = async (keep: number) => {
      while (inFlight.length > keep) await inFlight.shift()
    }
    // A process that ends takes its branches with it, and its step, so there is a checkpoint from the beginning.
    if (severalDevices(this.parts) && this.position.step === 0) await hooks.onSave?.()
    while (this.#due !== undefined || this.position.step < this.totalSteps) {
      if (hooks.shouldStop?.()) {
        await drain(0)
        await hooks.onSave?.()
        return false
      }
      if (this.#due !== undefined) {
        // An interrupted evaluation is still due, which the next turn of the loop saves.
        if (await this.#evaluate(this.#due, hooks)) await hooks.onSave?.()
        continue
      }
      const { epoch, batch, step } = this.position
      hooks.onBegin?.(step)
      const at = train.state
      if (at.epoch !== epoch || at.step !== batch) train.seek({ epoch, step: batch })
      const report = this.#step(await this.#sources.train.next(), hooks)
      report.catch(() => {})
      inFlight.push(report)
      await drain(AHEAD)
      const epochEnds = this.position.batch === 0 && this.position.pass === 0
      if (epochEnds || this.position.step >= this.totalSteps) {
        await drain(0)
        this.#due = epoch
      } else if (this.position.step % saveEvery === 0) {
        await drain(0)
        await hooks.onSave?.()
      }
    }
    return true
  }

  /** Returns the place of the next mini-batch, with random numbers that depend on the seed and the place alone. */
  #place(): StepPlace {
    const { step, updates } = this.position
    const random = new CounterRandom(this.parts.settings.seed, [updates, 0, Purpose.scheme])
    return { step, total: this.totalSteps, random }
  }

  /** Submits the optimizer steps on one mini-batch; the promise settles when their losses are known. */
  #step(batch: Chosen, hooks: TrainerHooks): Promise<void> {
    const { device, settings } = this.parts
    const several = severalDevices(this.parts)
    const { counter } = device.random
    const objectives = stepsAt(this.scheme, this.position.pass, () => this.#place())
    const steps = objectives.map((objective) => ({ objective, lr: this.#schedule(this.position.updates++) }))
    const { accumulate, maxNorm } = settings
    const onAll = () => several?.updates(batch as Batch, steps, { microBatches: accumulate, maxNorm })
    const reads = onAll() ?? this.#updates(batch, steps)
    const { pass } = this.position
    this.flops.add(objectives, batch.labels.length)
    const { total: flops } = this.flops
    this.#advance()
    const position = { ...this.position }
    const settle = async () => {
      const values = await Promise.all(reads)
      const bad = values.findIndex((step) => this.#ends(step))
      if (bad >= 0) {
        const repeat = () => findNonFinite(this.parts, this.#sources.train, batch, objectives[bad]!, counter)
        const found = several ? values[bad]!.nonFinite : await repeat()
        throw nonFiniteError(settings, batch, position.step, found)
      }
      this.reached = position.step + this.history.length
      hooks.onStep?.({
        epoch: batch.epoch,
        pass,
        position,
        time: this.elapsed,
        flops,
        losses: values.map(({ losses }) => losses),
        accuracies: values.map(({ predicted, losses }) => accuracies(predicted, batch.labels, losses)),
        firstPrefixes: objectives.map(({ firstPrefix }) => firstPrefix),
        norms: values.map(({ norm }) => norm),
        lossScale: values.at(-1)!.lossScale,
        lr: steps.at(-1)!.lr,
        images: batch.labels.length,
      })
    }
    return settle()
  }

  /** Whether the values of a step end the run. It must see each step once, in order. */
  #ends({ losses, norm, lossScale = 0 }: StepValues): boolean {
    const lossIsFinite = losses.every(Number.isFinite)
    const again = !lossIsFinite && this.#lossWasNotFinite
    this.#lossWasNotFinite = !lossIsFinite
    if (lossIsFinite && Number.isFinite(norm)) return false
    // In mixed precision the step was left out. The next one has a smaller loss scale, which helps gradients, and other images.
    return again || !(lossScale >= MIN_LOSS_SCALE)
  }

  /** Submits the optimizer steps on one mini-batch to a single device. */
  #updates(batch: Chosen, steps: readonly { objective: Objective; lr: number }[]): Promise<StepValues>[] {
    const { model, settings, optimizer } = this.parts
    const micro = microBatches(model, this.#sources.train, batch, settings.accumulate)
    const scale = settings.precision === 'mixed' ? optimizer.lossScale.value : undefined
    const reads = steps.map(({ objective, lr }) => readStep(this.#update(objective, micro, lr), scale))
    for (const { images, labels } of micro) {
      images.dispose()
      labels.dispose()
    }
    return reads
  }

  #update(objective: Objective, batches: readonly MicroBatch[], lr: number): StepResult {
    const { model, optimizer, ema, settings, eager = false } = this.parts
    const imagesOf = (input: Tensor) => this.#sources.train.images(input)
    if (eager) return optimizerStep(model, optimizer, objective, batches, lr, settings.maxNorm, ema, imagesOf)
    let step = this.#captured.get(objective)
    if (!step) {
      step = captureStep(model, optimizer, objective, settings.maxNorm, ema, imagesOf)
      this.#captured.set(objective, step)
    }
    return step(batches, lr)
  }

  #advance(): void {
    const p = this.position
    p.step++
    if (++p.batch < this.parts.train.stepsPerEpoch) return
    p.batch = 0
    if (++p.pass < this.scheme.passes.length) return
    p.pass = 0
    p.epoch++
  }

  /** Evaluates after an epoch. @returns whether the evaluation came to its end */
  async #evaluate(epoch: number, hooks: TrainerHooks): Promise<boolean> {
    const { model, evaluation, mode, distributed, ema } = this.parts
    const stopped = new Error('the evaluation was interrupted')
    const onBatch = (images: number) => {
      hooks.onEvaluating?.(images, evaluation.count)
      if (images < evaluation.count && hooks.shouldStop?.()) throw stopped
    }
    try {
      // Several devices take the images themselves.
      const source = distributed ? undefined : this.#sources.evaluation
      const score = () => evaluate(model, evaluation, onBatch, distributed ?? mode, source)
      const found = await (ema ? ema.evaluate(score) : score())
      this.#due = undefined
      this.history.push({ epoch, ...found })
      this.reached++
      await hooks.onEpoch?.({ epoch, ...found })
    } catch (error) {
      if (error !== stopped) throw error
      return false
    }
    return true
  }
}
