import { files } from '#platform'
import { deviceKey } from '../../engine/autotune/store.ts'
import { TunedVariants } from '../../engine/autotune/tuned.ts'
import { reason, requestDevice, UserError } from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { evaluate, spoiledPrefixes } from '../../train/evaluate.ts'
import type { RunSite } from '../../train/fleet/machine.ts'
import type { RunMessage } from '../../train/fleet/messages.ts'
import { sampleAttention, writeAttention } from '../../train/run/attention.ts'
import { readRun, saveCheckpoint, saveModel } from '../../train/run/checkpoint.ts'
import { FORMAT } from '../../train/run/format.ts'
import { loadersOf, type RunData, testLoader } from '../../train/run/loaders.ts'
import { evaluationMetrics, stepMetrics } from '../../train/run/metrics.ts'
import { placeBefore } from '../../train/run/position.ts'
import { writeRunRecord } from '../../train/run/record.ts'
import { trainWithRestarts } from '../../train/run/restarts.ts'
import { startTrainer } from '../../train/run/start.ts'
import { StepTimes } from '../../train/run/stepTimes.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import type { Settings } from '../../train/settings.ts'
import { isDivergence } from '../../train/study/run/divergence.ts'
import type { JobHooks, Outcome } from '../../train/study/run/processes.ts'
import { divergedRecord, type Reached, studyRecord } from '../../train/study/run/studyRecord.ts'

/** The files of a run that a browser trains, as long as the page lives. The fleet has its checkpoints. */
const FOLDER = 'memory:fleet'
const CHECKPOINT = `${FOLDER}/checkpoint.safetensors`

/** A run in the memory of a page. */
export class MemorySite implements RunSite {
  readonly #run: RunMessage
  readonly #settings: Settings
  readonly #dataset: Dataset
  readonly #names = new Set<string>()
  #metrics: string[] = []

  constructor(run: RunMessage, settings: Settings, dataset: Dataset) {
    this.#run = run
    this.#settings = settings
    this.#dataset = dataset
  }

  async clear(): Promise<void> {
    for (const name of this.#names) holdFile(`${FOLDER}/${name}`, undefined)
    this.#names.clear()
    this.#metrics = []
  }

  async names(): Promise<string[]> {
    return [...this.#names]
  }

  async read(name: string): Promise<{ size: number; data: ReadableStream<Uint8Array> } | undefined> {
    if (!this.#names.has(name)) return undefined
    const bytes = await files.read(`${FOLDER}/${name}`)
    return { size: bytes.length, data: new Blob([bytes as Uint8Array<ArrayBuffer>]).stream() }
  }

  async write(name: string, data: ReadableStream<Uint8Array>): Promise<number> {
    const bytes = new Uint8Array(await new Response(data as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer())
    await this.#put(name, (path) => files.write(path, bytes))
    return bytes.length
  }

  async train(hooks: JobHooks): Promise<Outcome> {
    try {
      return await this.#train(hooks)
    } catch (error) {
      return { how: 'failed', message: reason(error), asked: error instanceof UserError }
    }
  }

  async #train(hooks: JobHooks): Promise<Outcome> {
    const settings = this.#settings
    const data = loadersOf(this.#dataset, settings)
    try {
      const lastSaved = async () => (this.#names.has('checkpoint.safetensors') ? readRun(CHECKPOINT) : undefined)
      const from = await lastSaved()
      if (from && this.#names.has('metrics.jsonl'))
        this.#metrics = new TextDecoder()
          .decode(await files.read(`${FOLDER}/metrics.jsonl`))
          .split('\n')
          .slice(0, -1)
      let times = new StepTimes()
      return await trainWithRestarts({
        from,
        lastSaved,
        open: () => {
          times = new StepTimes()
          return requestDevice()
        },
        start: (device, at, before) => {
          const variants = at?.state.variants ?? before?.state().variants
          const chooseVariants = async () => {
            if (variants && variants.device === deviceKey(device.summary)) device.kernels.tuned = new TunedVariants(variants)
          }
          const resolved = at?.state.settings ?? before?.parts.settings ?? settings
          return startTrainer(device, resolved, data, { saveEvery: this.#run.saveEvery, chooseVariants }, at)
        },
        train: (trainer) => this.#trainWith(trainer, data, times, hooks),
        mayRestart: () => !hooks.signal.aborted,
        onLost: (loss, step) => hooks.note(`${reason(loss)}; training goes on from mini-batch ${step}`),
      })
    } finally {
      await Promise.all([data.train.close(), data.evaluation.close()])
    }
  }

  async #trainWith(trainer: Trainer, data: RunData, times: StepTimes, hooks: JobHooks): Promise<Outcome> {
    const run = this.#run
    const { name, train, test: tests } = this.#dataset
    const dataset = { name, trainImages: train.count, testImages: tests.count, sha256: {} }
    const described = { format: FORMAT, settings: trainer.parts.settings, model: trainer.parts.model.config, dataset }
    await this.#put('settings.json', (path) => files.write(path, `${JSON.stringify(described, null, 2)}\n`))
    let last: Reached = { position: { ...trainer.position }, flops: trainer.flops.total }
    const diverged = async (why: string): Promise<Outcome> => {
      await this.#record(divergedRecord(run, trainer, data, times, why, last))
      return { how: 'done' }
    }
    let finished: boolean
    try {
      finished = await this.#steps(trainer, data, times, hooks, (report) => {
        last = report
      })
    } catch (error) {
      if (!isDivergence(error)) throw error
      return diverged(error.message)
    }
    if (!finished) return { how: 'stopped' }
    const spoiled = spoiledPrefixes(trainer.history.at(-1)!.losses)
    if (spoiled !== undefined) return diverged(`${spoiled} at the end`)
    const test = run.kind === 'run' ? await this.#test(trainer, data, hooks) : undefined
    await this.#put('model.safetensors', async (path) => saveModel(path, await trainer.result(), data.info))
    const sample = await sampleAttention(trainer.parts.model, trainer.parts.evaluation, data.info)
    if (sample) await this.#put('attention.json', (path) => writeAttention(path, sample))
    await this.#record(studyRecord(run, trainer, data, times, test && { test }))
    return { how: 'done' }
  }

  #steps(trainer: Trainer, data: RunData, times: StepTimes, hooks: JobHooks, onStep: (at: Reached) => void): Promise<boolean> {
    const { step } = trainer.position
    // Lines after the checkpoint are written anew.
    this.#metrics = this.#metrics.filter((line) => (JSON.parse(line) as { step: number }).step <= step)
    const write = (...metrics: object[]) => this.#metrics.push(...metrics.map((metric) => JSON.stringify(metric)))
    let before = trainer.elapsed
    times.begin()
    return trainer.run({
      shouldStop: () => hooks.signal.aborted,
      onStep: (report) => {
        times.done()
        onStep(report)
        write(...stepMetrics(report, report.images / (report.time - before)))
        before = report.time
        hooks.onProgress?.(report.position.step, `loss ${report.losses.at(-1)!.at(-1)!.toFixed(4)}`)
      },
      onEvaluating: (images, of) => hooks.onProgress?.(trainer.position.step, `evaluating ${images}/${of}`),
      onEpoch: ({ epoch, ...found }) => {
        const { position, scheme, flops, elapsed: time } = trainer
        const { pass } = placeBefore(position, scheme)
        write(...evaluationMetrics(found, { time, epoch, pass, step: position.step, split: data.split, flops: flops.total }))
        before = time
        times.begin()
      },
      onSave: async () => {
        const { step } = trainer.position
        const { model, optimizer } = await trainer.saved()
        await this.#put('metrics.jsonl', (path) => files.write(path, this.#metrics.map((line) => `${line}\n`).join('')))
        await this.#put('checkpoint.safetensors', (path) =>
          saveCheckpoint(path, model, optimizer, trainer.state(), data.info, trainer.parts.ema),
        )
        hooks.onSaved?.(step)
      },
    })
  }

  async #test(trainer: Trainer, data: RunData, hooks: JobHooks) {
    const { model, mode, settings } = trainer.parts
    const loader = testLoader(data, settings)
    try {
      return await evaluate(model, loader, (images) => hooks.onProgress?.(trainer.position.step, `testing ${images}`), mode)
    } finally {
      await loader.close()
    }
  }

  async #record(record: Parameters<typeof writeRunRecord>[1]): Promise<void> {
    await this.#put('metrics.jsonl', (path) => files.write(path, this.#metrics.map((line) => `${line}\n`).join('')))
    await this.#put('run.json', (path) => writeRunRecord(path, record))
  }

  async #put(name: string, write: (path: string) => Promise<void>): Promise<void> {
    await write(`${FOLDER}/${name}`)
    this.#names.add(name)
  }
}
