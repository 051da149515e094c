import { files } from '#platform'
import { type Device, FileError, requestDevice, UserError } from '../../engine/index.ts'
import { removeOpfs } from '../../engine/platform/opfs.ts'
import { branchShape, countParameters, type Model } from '../../model/index.ts'
import { openData } from '../../train/host/host.ts'
import { readRun, type SavedRun, saveCheckpoint, saveModel } from '../../train/run/checkpoint.ts'
import type { RunData } from '../../train/run/loaders.ts'
import type { DataInfo } from '../../train/run/metadata.ts'
import { evaluationMetrics, type Metric, stepMetrics } from '../../train/run/metrics.ts'
import { placeBefore } from '../../train/run/position.ts'
import { trainWithRestarts } from '../../train/run/restarts.ts'
import { startTrainer } from '../../train/run/start.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import { checkSettings, type Settings } from '../../train/settings.ts'
import type { RunInfo, RunState, Told } from '../protocol.ts'
import { CHECKPOINT, exists, FOLDER, METRICS, MODEL } from './kept.ts'

/** Mini-batches between saves. */
const SAVE_EVERY = 50
/** Milliseconds between messages about metrics, which the page draws. */
const TELL_EVERY = 100

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
}

/** Trains in the worker: one run at a time, whose state is in the origin private file system, so that a reload goes on. */
export class Training {
  readonly #tell: (message: Told) => void
  #run: Run | undefined
  #waiting: Metric[] = []
  #told = 0

  constructor(tell: (message: Told) => void) {
    this.#tell = tell
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

  async open(settings: Partial<Settings>): Promise<RunInfo> {
    const checked = checkSettings(settings)
    await this.discard()
    return this.#open(checked, undefined, [])
  }

  async resume(): Promise<RunInfo> {
    await this.#close()
    const from = await readRun(CHECKPOINT)
    return this.#open(from.state.settings, from, await readMetrics(from.state.position.step))
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
    await removeOpfs(FOLDER)
  }

  loseDevice(): void {
    this.#opened().trainer.parts.device.gpu.destroy()
  }

  async checkpoint(): Promise<Uint8Array> {
    return files.read(CHECKPOINT)
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
  async #open(settings: Settings, from: SavedRun | undefined, metrics: Metric[]): Promise<RunInfo> {
    const data = await openData(settings)
    const opened = new Promise<Trainer>((resolve, reject) => {
      const run = { data, metrics, allowed: 0, wake: () => {}, ended: false } as Partial<Run> as Run
      run.done = this.#train(run, settings, from, resolve).catch((error) => {
        // A run that never got a trainer is none.
        if (!run.trainer) this.#run = undefined
        reject(error)
        this.#state({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
      })
      this.#run = run
    })
    const { settings: resolved, model, train, evaluation } = (await opened).parts
    this.#state({ kind: 'paused' })
    return {
      settings: resolved,
      step: (await opened).position.step,
      totalSteps: (await opened).totalSteps,
      branches: branchShape(model.config).branches,
      parameters: countParameters(model.config).total,
      trainImages: train.count,
      evaluationImages: evaluation.count,
      metrics,
    }
  }

  async #train(run: Run, settings: Settings, from: SavedRun | undefined, onOpen: (trainer: Trainer) => void): Promise<void> {
    let saved = from !== undefined
    await trainWithRestarts({
      from,
      open: () => requestDevice(),
      start: async (device: Device, at, before) => {
        return startTrainer(device, before?.parts.settings ?? settings, run.data, { saveEvery: SAVE_EVERY }, at)
      },
      train: async (trainer) => {
        run.trainer = trainer
        onOpen(trainer)
        for (;;) {
          await this.#mayRun(run)
          if (run.ended) return
          this.#state({ kind: 'running' })
          const finished = await trainer.run(
            this.#hooks(run, () => {
              saved = true
            }),
          )
          this.#tellMetrics(run)
          if (run.ended) return
          this.#state({ kind: finished ? 'finished' : 'paused' })
          if (finished) {
            await saveModel(MODEL, trainer.parts.model, run.data.info).catch((error) => this.#note(error))
            run.allowed = 0
          }
        }
      },
      lastSaved: async () => {
        if (!saved) return undefined
        const state = await readRun(CHECKPOINT)
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
        this.#add(run, stepMetrics(report, report.images / (report.time - before)))
        before = report.time
      },
      onEvaluating: (images, of) => this.#tell({ kind: 'evaluating', images, of }),
      onEpoch: ({ epoch, ...found }) => {
        const { position, scheme, flops, elapsed: time } = trainer
        const { pass } = placeBefore(position, scheme)
        this.#add(
          run,
          evaluationMetrics(found, { time, epoch, pass, step: position.step, split: data.split, flops: flops.total }),
        )
        before = time
      },
      onSave: async () => {
        try {
          // Metrics come first: those after the step of the checkpoint are cut off when it is read.
          await files.write(METRICS, JSON.stringify(run.metrics))
          const { model, optimizer } = await trainer.saved()
          await saveCheckpoint(CHECKPOINT, model, optimizer, trainer.state(), data.info)
          onSaved()
        } catch (error) {
          if (!(error instanceof FileError)) throw error
          this.#note(error)
        }
      },
    }
  }

  #add(run: Run, metrics: readonly Metric[]): void {
    run.metrics.push(...metrics)
    this.#waiting.push(...metrics)
    if (performance.now() - this.#told >= TELL_EVERY) this.#tellMetrics(run)
  }

  #tellMetrics({ trainer }: Run): void {
    const { liveBytes, peakBytes } = trainer.parts.device.memory
    this.#tell({ kind: 'metrics', metrics: this.#waiting, step: trainer.position.step, liveBytes, peakBytes })
    this.#waiting = []
    this.#told = performance.now()
  }

  #state(state: RunState): void {
    this.#tell({ kind: 'state', state })
  }

  #note(error: unknown): void {
    this.#tell({ kind: 'note', text: error instanceof Error ? error.message : String(error) })
  }
}

/** Reads the metrics up to a mini-batch; none where they are missing or malformed. */
async function readMetrics(step: number): Promise<Metric[]> {
  try {
    const found: Metric[] = JSON.parse(new TextDecoder().decode(await files.read(METRICS)))
    return found.filter((metric) => metric.step <= step)
  } catch {
    return []
  }
}
