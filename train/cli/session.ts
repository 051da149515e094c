import { existsSync } from 'node:fs'
import { type DeviceLostError, FileError, reason, UserError } from '../../engine/index.ts'
import { branchShape, countParameters, type Model } from '../../model/index.ts'
import type { Dataset } from '../data/dataset.ts'
import { spoiledPrefixes } from '../evaluate.ts'
import { readRun, type SavedRun } from '../run/checkpoint.ts'
import { CheckpointWriter } from '../run/checkpointWriter.ts'
import type { HeldFolder, RunFolder } from '../run/folder.ts'
import type { RunData } from '../run/loaders.ts'
import { MetricsLog } from '../run/metricsLog.ts'
import { runRecord } from '../run/record.ts'
import { deviceLossBehind, MAX_DEVICE_LOSSES } from '../run/restarts.ts'
import { writeSettings } from '../run/settingsFile.ts'
import { type Sources, sourcesOf } from '../run/sources.ts'
import { StepTimes } from '../run/stepTimes.ts'
import type { Trainer } from '../run/trainer.ts'
import { severalDevices } from '../run/trainerParts.ts'
import type { Interrupt } from './interrupt.ts'
import { say } from './printable.ts'
import { Progress } from './progress.ts'
import { compact } from './table.ts'
import { Trace } from './trace.ts'
import { trainLoop } from './trainLoop.ts'
import { report } from './trainReport.ts'

export interface SessionParts {
  data: RunData
  held: HeldFolder
  interrupt: Interrupt
  /** The checkpoint whose parameters the run began with, if there is one. */
  initFrom?: string | undefined
  /** The file of the trace, if there is one. */
  trace?: string | undefined
  /** Prints the result as JSON. */
  json: boolean
}

/** Progress, metrics, checkpoints and trace of a run, which outlive its trainer when a device is lost. */
export class Session {
  readonly #parts: SessionParts
  readonly #progress: Progress
  readonly #metrics: MetricsLog
  readonly #checkpoints: CheckpointWriter
  readonly #sources: Promise<Sources>
  readonly #times = new StepTimes()
  #trace: Trace | undefined
  /** Errors of files that could not be written, which are reported at the end, after the result. */
  readonly #unwritten: FileError[] = []
  #closed: Promise<void> | undefined

  /** Opens the session of a run. @param trainer the run's first trainer */
  static async open(trainer: Trainer, parts: SessionParts): Promise<Session> {
    const { data, held } = parts
    const { settings, model } = trainer.parts
    const { step } = trainer.position
    const { folder, lock } = held
    const input = { settings, config: model.config, dataset: data.dataset, initFrom: parts.initFrom }
    await writeSettings(folder.settings, input, existsSync(folder.checkpoint) ? say : undefined)
    const progress = new Progress({ total: trainer.totalSteps, value: step })
    const note = (text: string) => progress.note(text)
    const metrics = await MetricsLog.open(folder.metrics, placeOf(trainer), note)
    const savedStep = existsSync(folder.checkpoint) ? step : undefined
    const checkpoints = new CheckpointWriter({ folder, lock, metrics, info: data.info, say: note }, savedStep)
    note(
      `${describeData(data.dataset)}: ${data.train.count} training images, ${data.evaluation.count} of ${data.split}; ${describeModel(model)}; ` +
        `scheme ${settings.scheme}; ${folder.path}${step > 0 ? `, from mini-batch ${step} on` : ''}`,
    )
    return new Session(parts, progress, metrics, checkpoints)
  }

  private constructor(parts: SessionParts, progress: Progress, metrics: MetricsLog, checkpoints: CheckpointWriter) {
    this.#parts = parts
    this.#progress = progress
    this.#metrics = metrics
    this.#checkpoints = checkpoints
    this.#sources = sourcesOf()
  }

  /**
   * Trains to the end and prints the result, or to an interruption.
   * @throws DeviceLostError; another trainer may go on from `lastSaved()`
   */
  async train(trainer: Trainer): Promise<void> {
    const { interrupt, data, held, json } = this.#parts
    const several = severalDevices(trainer.parts)
    interrupt.says = 'saving; once more ends at once'
    const cancel = interrupt.onAsked(() => several?.hurry())
    let finished = false
    try {
      finished = await this.#run(trainer)
    } catch (error) {
      const loss = await deviceLossBehind(error, trainer.parts.device, trainer)
      if (!loss || !interrupt.asked) throw loss ?? error
      this.#progress.note(`${reason(loss)}\n${this.lostWork()}`)
      return interrupt.end()
    } finally {
      cancel()
    }
    await this.close()
    if (finished) report(trainer, data, held.folder, json)
    else if (this.#unwritten.length === 0) say(`saved after mini-batch ${trainer.position.step}; ${goOn(held.folder)}`)
    if (!finished) interrupt.end()
    for (const error of this.#unwritten.slice(1)) say(reason(error))
    if (this.#unwritten[0]) throw this.#unwritten[0]
    if (finished) refuseSpoiled(trainer)
  }

  async #run(trainer: Trainer): Promise<boolean> {
    const { interrupt, data } = this.#parts
    const trace = await this.#traceOf(trainer)
    await this.#metrics.rewind(placeOf(trainer))
    const parts = {
      interrupt,
      progress: this.#progress,
      metrics: this.#metrics,
      checkpoints: this.#checkpoints,
      times: this.#times,
      trace,
      split: data.split,
    }
    const finished = await trainLoop(trainer, parts)
    const record = finished ? runRecord(trainer, data, this.#times, await this.#sources) : undefined
    await this.#checkpoints.end(trainer, record).catch(this.#orUnwritten)
    await trace?.save(trainer.position.step).catch(this.#orUnwritten)
    return finished
  }

  /** Returns the trace of the run, which begins anew if it was lost with a device. */
  async #traceOf(trainer: Trainer): Promise<Trace | undefined> {
    const { trace: path } = this.#parts
    if (path === undefined || (await this.#trace?.isWritten())) return this.#trace
    const on = severalDevices(trainer.parts) ?? trainer.parts.device
    this.#trace = await Trace.open(on, path, { first: trainer.position.step, end: trainer.totalSteps })
    return this.#trace
  }

  /** Reads the last checkpoint; undefined when there is none yet. */
  async lastSaved(): Promise<SavedRun | undefined> {
    return this.#checkpoints.savedStep === undefined ? undefined : readRun(this.#parts.held.folder.checkpoint)
  }

  /** Says that training goes on after a device loss. */
  onLost(loss: DeviceLostError, step: number): void {
    this.#progress.note(lostLine(loss, step))
  }

  /** Says why a run ends after too many device losses, and what is left of it. */
  gaveUp(): void {
    this.#progress.note(`${MAX_DEVICE_LOSSES} devices were lost in a row without a mini-batch more done; ${this.#left()}`)
  }

  /** Describes what is left of a run that was interrupted and cannot save. */
  lostWork(): string {
    return `mini-batches after the last save are lost; ${this.#left()}`
  }

  /** Ends the progress bar, and writes the metrics that wait. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#progress.stop()
    await this.#metrics.close().catch(this.#orUnwritten)
  }

  readonly #orUnwritten = (error: unknown) => {
    if (!(error instanceof FileError)) throw error
    this.#unwritten.push(error)
  }

  #left(): string {
    const { savedStep } = this.#checkpoints
    if (savedStep === undefined) return 'there is no checkpoint yet, begin again with a smaller --save-every'
    return `the checkpoint of mini-batch ${savedStep} is whole; ${goOn(this.#parts.held.folder)}`
  }
}

/** @throws UserError when a loss at the end of a run is not finite */
function refuseSpoiled({ history, parts }: Trainer): void {
  const spoiled = spoiledPrefixes(history.at(-1)!.losses)
  if (spoiled === undefined) return
  const { lr, precision } = parts.settings
  const or = precision === 'mixed' ? ', or --precision f32' : ''
  throw new UserError(`${spoiled} at the end; train anew with a smaller --lr (it was ${lr}) or --max-norm${or}`)
}

/** Says how to go on with a run. */
export function goOn({ path }: RunFolder): string {
  return `go on with: npx paraformer train --resume ${path}`
}

/** Says which device was lost, and from where training goes on. */
export function lostLine({ message }: DeviceLostError, step: number): string {
  // The rest of the message is advice for programs.
  return `${message.split(';')[0]}; training goes on from mini-batch ${step} on a new one`
}

function placeOf(trainer: Trainer) {
  return { step: trainer.position.step, evaluationDue: trainer.evaluationDue }
}

/** Names a data set; what is not known by the name alone is said too. */
function describeData({ name, own, classes, channels, height, width }: Dataset): string {
  return own ? `${name}, ${classes} classes, [${channels}, ${height}, ${width}]` : name
}

function describeModel({ config }: Model): string {
  const shapes = {
    paraformer: (branches: number, depth: number) => `${branches} branches x ${depth}`,
    vit: (_: number, depth: number) => `${depth} layers`,
    ensemble: (members: number, depth: number) => `${members} members x ${depth}`,
  }
  const { branches, depth } = branchShape(config)
  const shape = shapes[config.architecture](branches, depth)
  return `${config.architecture} ${shape}, ${compact(countParameters(config).total)} parameters`
}
