import { files } from '#platform'
import { type Device, FileError, OutOfMemoryError, requestDevice, UserError } from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import { removeOpfs } from '../../engine/platform/opfs.ts'
import { Ensemble, type Model } from '../../model/index.ts'
import { openSafetensors } from '../../train/checkpoint/files.ts'
import { openData } from '../../train/host/host.ts'
import { type BranchTimes, timeBranches } from '../../train/run/branchTimes.ts'
import {
  type Checkpoint,
  readCheckpoint,
  readRun,
  type SavedRun,
  saveCheckpoint,
  saveModel,
} from '../../train/run/checkpoint.ts'
import { settingsLike } from '../../train/run/initFrom.ts'
import type { RunData } from '../../train/run/loaders.ts'
import type { DataInfo } from '../../train/run/metadata.ts'
import { evaluationMetrics, type Metric, stepMetrics } from '../../train/run/metrics.ts'
import { placeBefore } from '../../train/run/position.ts'
import { trainWithRestarts } from '../../train/run/restarts.ts'
import { startTrainer } from '../../train/run/start.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import { checkSettings, type Settings } from '../../train/settings.ts'
import type { OpenedCheckpoint, Refused, RunInfo, RunState, Told } from '../protocol.ts'
import { CHECKPOINT, exists, FOLDER, IN_MEMORY, METRICS, MODEL } from './kept.ts'
import { MetricFeed } from './metricFeed.ts'
import type { OwnData } from './ownData.ts'
import { orRefused } from './refused.ts'
import { checkPageData, pastEvaluations, readMetrics } from './resumed.ts'
import { runInfo } from './runInfo.ts'

/** Mini-batches between saves. */
const SAVE_EVERY = 50

/** An open run. */
interface Run {
  data: RunData
  trainer: Trainer
  metrics: Metric[]
  /** Mini-batches that it may still train before it waits. */
  allowed: number
  /** Wakes a run that waits. */
  wake: () => void
  /** Whether it is to end without a further mini-batch. */
  ended: boolean
  /** Settles when it has ended. */
  done: Promise<void>
  branchTimes?: BranchTimes
  /** Path of its last checkpoint: in the browser's storage, or in memory where that is refused or full. */
  place: string
}

/** Trains in the worker: one run at a time, whose state is in the origin private file system, so that a reload goes on. */
export class Training {
  readonly #tell: (message: Told) => void
  #run: Run | undefined
  readonly #own: OwnData
  /** The checkpoint with whose parameters the next run begins. */
  #initial: Checkpoint | undefined
  readonly #feed: MetricFeed

  constructor(tell: (message: Told) => void, own: OwnData) {
    this.#tell = tell
    this.#own = own
    this.#feed = new MetricFeed(tell)
  }

  /** The model of the open run with what its images need; undefined without a run. */
  get model(): { model: Model; info: DataInfo } | undefined {
    return this.#run && { model: this.#run.trainer.parts.model, info: this.#run.data.info }
  }

  /** Whether a run was saved that can go on. A checkpoint that is damaged is told and counts as none. */
  async saved(): Promise<boolean> {
    if (!(await exists(CHECKPOINT))) return false
    try {
      await readRun(CHECKPOINT)
      return true
    } catch (error) {
      this.#note(error)
      return false
    }
  }

  async open(settings: Partial<Settings>): Promise<RunInfo | Refused> {
    const checked = checkSettings(settings)
    await this.discard()
    return orRefused(() => this.#open(checked, undefined, []))
  }

  async resume(): Promise<RunInfo | Refused> {
    const from = await readRun(CHECKPOINT)
    const metrics = await readMetrics(from.state.position.step)
    return orRefused(() => this.#open(from.state.settings, from, metrics))
  }

  /** Opens a checkpoint: that of a run goes on, in place of the saved one, and a model is what the next run begins with. */
  async openCheckpoint(name: string, file: Blob): Promise<OpenedCheckpoint | Refused> {
    holdFile(name, file)
    try {
      const opened = await openSafetensors(name)
      await opened.close()
      if (opened.metadata.training === undefined) {
        this.#initial = await readCheckpoint(name)
        return { initial: settingsLike(this.#initial), name }
      }
      const from = await readRun(name)
      const run = await orRefused(() => this.#open(from.state.settings, from, [], (data) => checkPageData(name, from, data)))
      if ('refused' in run) return run
      // A reload goes on with what is in the page's own storage.
      await removeOpfs(FOLDER).catch(() => {})
      await files.write(CHECKPOINT, new Uint8Array(await file.arrayBuffer())).catch((error) => this.#note(error))
      return { run }
    } finally {
      holdFile(name, undefined)
    }
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

  async discard(): Promise<void> {
    await this.#close()
    // A storage that is refused holds nothing to remove.
    await removeOpfs(FOLDER).catch(() => {})
  }

  loseDevice(): void {
    this.#opened().trainer.parts.device.gpu.destroy()
  }

  async checkpoint(): Promise<Uint8Array> {
    return files.read(this.#run?.place ?? CHECKPOINT)
  }

  async #close(): Promise<void> {
    const run = this.#run
    if (!run) return
    run.ended = true
    run.wake()
    await run.done
    this.#run = undefined
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
    const opened = new Promise<Trainer>((resolve, reject) => {
      const run = { data, metrics, allowed: 0, wake: () => {}, ended: false, place: CHECKPOINT } as Partial<Run> as Run
      run.done = this.#train(run, settings, from, resolve).catch((error) => {
        reject(error)
        // A run that never got a trainer is none.
        if (!run.trainer) {
          this.#run = undefined
          return
        }
        const message = error instanceof Error ? error.message : String(error)
        this.#state({ kind: 'failed', message, outOfMemory: error instanceof OutOfMemoryError })
      })
      this.#run = run
    })
    const trainer = await opened
    this.#initial = undefined
    const run = this.#run!
    if (metrics.length === 0) run.metrics.push(...pastEvaluations(trainer, data.split))
    this.#state({ kind: 'paused', kept: kept(run) })
    return runInfo(trainer, data, run)
  }

  async #train(run: Run, settings: Settings, from: SavedRun | undefined, onOpen: (trainer: Trainer) => void): Promise<void> {
    let saved = from !== undefined
    const initial = from ? undefined : this.#initial
    await trainWithRestarts({
      from,
      open: () => requestDevice(),
      start: async (device: Device, at, before) => {
        const options = { saveEvery: SAVE_EVERY, initial }
        const trainer = await startTrainer(device, before?.parts.settings ?? settings, run.data, options, at)
        const { model } = trainer.parts
        if (!before && !(model instanceof Ensemble))
          run.branchTimes = await timeBranches(model, Math.min(settings.batchSize, run.data.train.count))
        return trainer
      },
      train: async (trainer) => {
        run.trainer = trainer
        onOpen(trainer)
        for (;;) {
          await this.#mayRun(run)
          if (run.ended) return
          this.#state({ kind: 'running', kept: kept(run) })
          const finished = await trainer.run(
            this.#hooks(run, () => {
              saved = true
            }),
          )
          this.#feed.tell(run)
          if (run.ended) return
          this.#state({ kind: finished ? 'finished' : 'paused', kept: kept(run) })
          if (finished) {
            await saveModel(MODEL, await trainer.result(), run.data.info).catch((error) => this.#note(error))
            run.allowed = 0
          }
        }
      },
      lastSaved: async () => {
        if (!saved) return undefined
        const state = await readRun(run.place)
        run.metrics = run.metrics.filter(({ step }) => step <= state.state.position.step)
        return state
      },
      mayRestart: () => !run.ended,
      onLost: (error, step) => {
        if (step === 0) run.metrics = []
        this.#tell({
          kind: 'note',
          text: `${error.message.split(';')[0]}; training goes on from mini-batch ${step} on a new one`,
        })
      },
    })
  }

  /** Waits until a run may train, or is to end. */
  async #mayRun(run: Run): Promise<void> {
    while (run.allowed <= 0 && !run.ended) await new Promise<void>((resolve) => (run.wake = resolve))
  }

  #hooks(run: Run, onSaved: () => void): NonNullable<Parameters<Trainer['run']>[0]> {
    const { trainer, data } = run
    let before = trainer.elapsed
    return {
      shouldStop: () => run.ended || run.allowed <= 0,
      onBegin: () => {
        run.allowed--
      },
      onStep: (report) => {
        this.#feed.add(run, stepMetrics(report, report.images / (report.time - before)))
        before = report.time
      },
      onEvaluating: (done, of) => this.#tell({ kind: 'progress', what: 'Evaluating images', done, of }),
      onEpoch: ({ epoch, ...found }) => {
        const { position, scheme, flops, elapsed: time } = trainer
        const { pass } = placeBefore(position, scheme)
        this.#feed.add(
          run,
          evaluationMetrics(found, { time, epoch, pass, step: position.step, split: data.split, flops: flops.total }),
        )
        before = time
      },
      onSave: async () => {
        const { model, optimizer } = await trainer.saved()
        const save = (path: string) => saveCheckpoint(path, model, optimizer, trainer.state(), data.info, trainer.parts.ema)
        try {
          // Metrics come first: those after the step of the checkpoint are cut off when it is read.
          await files.write(METRICS, JSON.stringify(run.metrics))
          await save(CHECKPOINT)
          run.place = CHECKPOINT
        } catch (error) {
          if (!(error instanceof FileError)) throw error
          if (kept(run)) this.#note(error)
          await save(IN_MEMORY)
          run.place = IN_MEMORY
        }
        onSaved()
      },
    }
  }

  #state(state: RunState): void {
    this.#tell({ kind: 'state', state })
  }

  #note(error: unknown): void {
    this.#tell({ kind: 'note', text: error instanceof Error ? error.message : String(error) })
  }
}

/** Whether the last checkpoint of a run outlives the page. */
function kept({ place }: Run): boolean {
  return place === CHECKPOINT
}
