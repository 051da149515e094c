import { type Device, DeviceLostError, OutOfMemoryError, requestDevice, UserError } from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import { Ensemble, type Model } from '../../model/index.ts'
import { openSafetensors } from '../../train/checkpoint/files.ts'
import { openData } from '../../train/host/host.ts'
import { timeBranches } from '../../train/run/branchTimes.ts'
import { type Checkpoint, readCheckpoint, readRun, type SavedRun, saveModel } from '../../train/run/checkpoint.ts'
import { settingsLike } from '../../train/run/initFrom.ts'
import type { RunData } from '../../train/run/loaders.ts'
import type { DataInfo } from '../../train/run/metadata.ts'
import type { Metric } from '../../train/run/metrics.ts'
import { trainWithRestarts } from '../../train/run/restarts.ts'
import { startTrainer } from '../../train/run/start.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import { checkSettings, type Settings } from '../../train/settings.ts'
import type { OpenedCheckpoint, Refused, RunInfo, RunState, SavedPlace, Told } from '../protocol.ts'
import { CHECKPOINT, FOLDER, MODEL } from './kept.ts'
import { MetricFeed } from './metricFeed.ts'
import { failureOf, hooksOf, type Run, restingState, savesOnly } from './openRun.ts'
import type { OwnData } from './ownData.ts'
import { orRefused } from './refused.ts'
import { checkPageData, pastEvaluations, readMetrics } from './resumed.ts'
import { runInfo } from './runInfo.ts'
import { Saver } from './saver.ts'
import { forgetKept, isKept, stored } from './storage.ts'
import { turns } from './turns.ts'

/** Trains in the worker: one run at a time, whose state is in the origin private file system, so that a reload goes on. */
export class Training {
  readonly #tell: (message: Told) => void
  #run: Run | undefined
  readonly #own: OwnData
  /** The checkpoint with whose parameters the next run begins. */
  #initial: Checkpoint | undefined
  readonly #feed: MetricFeed
  #ids = 0
  /** Opens and ends runs one after the other. */
  readonly #inTurn = turns()
  /** Are called when a run has another trainer, has failed or has ended. */
  #onChange = new Set<() => void>()

  constructor(tell: (message: Told) => void, own: OwnData) {
    this.#tell = tell
    this.#own = own
    this.#feed = new MetricFeed(tell)
  }

  /** The model of the open run with what its images need; undefined without a run. */
  get model(): { id: number; model: Model; info: DataInfo } | undefined {
    const run = this.#run
    return run?.trainer && { id: run.id, model: run.trainer.parts.model, info: run.data.info }
  }

  /** Waits for the model that takes the place of one whose device was lost. @throws UserError where none does */
  async modelAfter(lost: Model): Promise<void> {
    while (this.#run?.trainer.parts.model === lost && !this.#run.failed)
      await new Promise<void>((resolve) => this.#onChange.add(resolve))
    if (!this.#run || this.#run.failed) throw new UserError('the run has no device any more; choose another model')
  }

  /** Whether a run was saved that can go on. A checkpoint that is damaged is told and counts as none. */
  async saved(): Promise<SavedPlace> {
    if (!(await isKept(CHECKPOINT))) return 'nowhere'
    try {
      await readRun(CHECKPOINT)
      return 'here'
    } catch (error) {
      this.#note(error)
      return 'nowhere'
    }
  }

  open(settings: Partial<Settings>): Promise<RunInfo | Refused> {
    return this.#inTurn(async () => {
      const checked = checkSettings(settings)
      await this.#discard()
      return orRefused(() => this.#open(checked, undefined, []))
    })
  }

  resume(): Promise<RunInfo | Refused> {
    return this.#inTurn(async () => {
      const from = await readRun(CHECKPOINT)
      const metrics = await readMetrics(from.state.position.step)
      return orRefused(() => this.#open(from.state.settings, from, metrics))
    })
  }

  /** Opens a checkpoint: that of a run goes on, in place of the saved one, and a model is what the next run begins with. */
  openCheckpoint(name: string, file: Blob): Promise<OpenedCheckpoint | Refused> {
    return this.#inTurn(async () => {
      holdFile(name, file)
      try {
        const opened = await openSafetensors(name)
        await opened.close()
        if (opened.metadata.training === undefined) {
          this.#initial = await readCheckpoint(name)
          return { initial: settingsLike(this.#initial), name }
        }
        const from = await readRun(name)
        const bytes = new Uint8Array(await file.arrayBuffer())
        const run = await orRefused(() => this.#open(from.state.settings, from, [], (data) => checkPageData(name, from, data)))
        if ('refused' in run) return run
        // A reload goes on with what is in the page's own storage.
        await forgetKept(FOLDER)
        await this.#run!.saver.take(bytes)
        this.#state(restingState(this.#run!))
        return { run }
      } finally {
        holdFile(name, undefined)
      }
    })
  }

  forgetInitial(): void {
    this.#initial = undefined
  }

  run(steps = Number.POSITIVE_INFINITY): void {
    const run = this.#opened()
    run.allowed = steps
    run.wake()
  }

  pause(): void {
    this.#opened().allowed = 0
  }

  /** Saves the run that trains soon, since the page may be about to close. */
  save(): void {
    this.#run?.saver?.ask()
  }

  discard(): Promise<void> {
    return this.#inTurn(() => this.#discard())
  }

  loseDevice(): void {
    this.#opened().trainer.parts.device.gpu.destroy()
  }

  checkpoint(): Promise<Uint8Array> {
    return this.#opened().saver.bytes()
  }

  /** Whether a run is open. */
  get isOpen(): boolean {
    return this.#run !== undefined
  }

  async #discard(): Promise<void> {
    await this.#close()
    await forgetKept(FOLDER)
  }

  async #close(): Promise<void> {
    const run = this.#run
    if (!run) return
    run.ended = true
    run.wake()
    await run.done
    this.#run = undefined
    this.#changed()
  }

  #opened(): Run {
    if (!this.#run) throw new UserError('there is no run; begin one')
    return this.#run
  }

  /** Opens data and trainer. @returns when the first trainer is there, and the run waits */
  async #open(
    asked: Settings,
    from: SavedRun | undefined,
    metrics: Metric[],
    check: (data: RunData) => void = () => {},
  ): Promise<RunInfo> {
    const settings = await this.#own.placed(asked)
    const data = await openData(settings, {
      like: from?.checkpoint ?? this.#initial,
      sameData: from !== undefined,
      onProgress: (done, of) => this.#tell({ kind: 'progress', what: 'Decoding images', done, of }),
    })
    check(data)
    await this.#close()
    const saver = await Saver.open(from?.state.position.step, (error) => this.#note(error))
    const opened = new Promise<Trainer>((resolve, reject) => {
      const waiting = { allowed: 0, wake: () => {}, ended: false, failed: false }
      const run = { id: ++this.#ids, data, metrics, saver, ...waiting } as Run
      run.done = this.#train(run, settings, from, resolve).catch((error) => {
        reject(error)
        this.#failed(run, error)
      })
      this.#run = run
    })
    const trainer = await opened
    this.#initial = undefined
    const run = this.#run!
    if (metrics.length === 0) run.metrics.push(...pastEvaluations(trainer, data.split))
    this.#state(restingState(run))
    return runInfo(trainer, data, run)
  }

  #failed(run: Run, error: unknown): void {
    run.failed = true
    // A run that never got a trainer is none.
    if (!run.trainer) this.#run = undefined
    else {
      const message = failureOf(error, run, error instanceof DeviceLostError)
      const saved = run.saver.step !== undefined
      this.#state({ kind: 'failed', message, outOfMemory: error instanceof OutOfMemoryError, saved })
    }
    this.#changed()
  }

  async #train(run: Run, settings: Settings, from: SavedRun | undefined, onOpen: (trainer: Trainer) => void): Promise<void> {
    const initial = from ? undefined : this.#initial
    await trainWithRestarts({
      from,
      open: () => requestDevice(),
      start: async (device: Device, at, before) => {
        // The saver decides when to save, by the clock.
        const options = { saveEvery: Number.MAX_SAFE_INTEGER, initial }
        const trainer = await startTrainer(device, before?.parts.settings ?? settings, run.data, options, at)
        const { model } = trainer.parts
        if (!before && !(model instanceof Ensemble))
          run.branchTimes = await timeBranches(model, Math.min(settings.batchSize, run.data.train.count))
        return trainer
      },
      train: async (trainer) => {
        run.trainer = trainer
        onOpen(trainer)
        this.#replaced(run)
        for (;;) {
          await this.#mayRun(run)
          if (run.ended) return
          this.#state({ kind: 'running', kept: run.saver.kept, saved: run.saver.step !== undefined })
          let finished: boolean
          do finished = await trainer.run(hooksOf(run, this.#feed, this.#tell))
          while (!finished && savesOnly(run))
          this.#feed.tell(run)
          if (run.ended) return
          if (finished) run.allowed = 0
          this.#state(restingState(run))
          if (finished) await stored(async () => saveModel(MODEL, await trainer.result(), run.data.info)).catch(() => {})
        }
      },
      lastSaved: async () => {
        const state = await run.saver.last()
        if (state) run.metrics = run.metrics.filter(({ step }) => step <= state.state.position.step)
        return state
      },
      mayRestart: () => !run.ended,
      onLost: (error, step) => {
        if (step === 0) run.metrics = []
        run.lost = { why: error.message.split(';')[0]!, step }
      },
    })
  }

  /** Tells that another device has taken the place of one that was lost. */
  #replaced(run: Run): void {
    if (run.lost) {
      const { why, step } = run.lost
      const now = run.allowed > 0 ? 'training goes on from' : 'the run waits at'
      this.#tell({ kind: 'note', text: `${why}; ${now} mini-batch ${step} on a new one` })
      run.lost = undefined
    }
    this.#changed()
  }

  /** Waits until a run may train, or is to end. @throws DeviceLostError when its device is lost meanwhile */
  async #mayRun(run: Run): Promise<void> {
    const lost = run.trainer.parts.device.lost.then((error) => {
      throw error
    })
    lost.catch(() => {})
    while (run.allowed <= 0 && !run.ended) await Promise.race([lost, new Promise<void>((resolve) => (run.wake = resolve))])
  }

  #changed(): void {
    for (const resolve of this.#onChange) resolve()
    this.#onChange.clear()
  }

  #state(state: RunState): void {
    this.#tell({ kind: 'state', state })
  }

  #note(error: unknown): void {
    this.#tell({ kind: 'note', text: error instanceof Error ? error.message : String(error) })
  }
}
