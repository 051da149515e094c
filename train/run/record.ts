import * as v from 'valibot'
import { files, runtime } from '#platform'
import { amount, count, fields, listOf, mapOf, numberOrNaN, text } from '../../engine/base/json.ts'
import type { Device } from '../../engine/index.ts'
import { countParameters } from '../../model/index.ts'
import { version } from '../../package.json'
import { FORMAT } from './format.ts'
import type { RunData } from './loaders.ts'
import type { Sources } from './sources.ts'
import type { StepTimes } from './stepTimes.ts'
import type { Trainer } from './trainer.ts'

/** Scores of every prefix, prefix 1 first, over so many images. JSON has null for a number that is not finite. */
export const SCORES = fields({ images: v.optional(count), loss: listOf(numberOrNaN), accuracy: listOf(numberOrNaN) })

export type Scores = v.InferOutput<typeof SCORES>

/** The schema of run.json. */
export const RUN_RECORD = fields({
  format: count,
  /** Hash of what determines the run, its arm, and the hash of the code that decides its numbers, in a study. */
  key: v.optional(text),
  arm: v.optional(text),
  sources: v.optional(text),
  seed: count,
  /** The commit that is checked out, and whether every file is as in it; null outside a repository. */
  commit: v.nullable(text),
  clean: v.nullable(v.boolean('true or false')),
  /** The adapter and driver of the (first) device, and its features. */
  adapter: text,
  driver: text,
  features: listOf(text),
  /** Kernel variants that were tuned, by task. */
  tuned: mapOf(text),
  versions: fields({ node: text, paraformer: text, webgpu: text }),
  /** Seconds until the first mini-batch of the last session was done, which compiles kernels and captures steps. */
  coldSeconds: v.nullable(amount),
  /** Median seconds of a later mini-batch. */
  warmSeconds: v.nullable(amount),
  /** The most bytes that were in use on the (first) device at a time, in the last session. */
  peakBytes: amount,
  optimizerSteps: count,
  /** Images of all mini-batches, each as often as it was trained on. */
  images: count,
  /** Counted operations of the training; null where a part of the run was not counted. */
  trainingFlops: v.nullable(amount),
  /** Seconds of training and evaluation, in all sessions. */
  wallSeconds: amount,
  parameters: count,
  /** Further numbers that a run of a study measured, by name (see `Procedure`). */
  measures: v.optional(mapOf(numberOrNaN)),
  /**
   * The reason why the training ended when numbers were not finite. The numbers above are those until then, and the scores are
   * NaN.
   */
  diverged: v.optional(text),
  /** The last evaluation, by split. */
  final: fields({ test: v.optional(SCORES), validation: v.optional(SCORES) }),
})

/** A run that has ended in numbers: the content of run.json. */
export type RunRecord = v.InferOutput<typeof RUN_RECORD>

/** Describes a run at its end. */
export function runRecord(
  trainer: Trainer,
  { train, split }: Pick<RunData, 'train' | 'split'>,
  times: StepTimes,
  sources: Sources,
): RunRecord {
  const { device, settings, model, distributed } = trainer.parts
  const { position, history, flops, elapsed } = trainer
  const last = history.at(-1)
  const own = () => model.parameters().reduce((sum, { size }) => sum + size, 0)
  const scores: Scores | undefined = last && { loss: last.losses, accuracy: last.accuracies }
  return {
    format: FORMAT,
    seed: settings.seed,
    ...sources,
    ...ranOn(device),
    coldSeconds: times.cold ?? null,
    warmSeconds: times.warm ?? null,
    optimizerSteps: position.updates,
    // Every mini-batch has as many images as there are, at most those of the settings.
    images: position.step * Math.min(settings.batchSize, train.count),
    trainingFlops: flops.total ?? null,
    wallSeconds: elapsed,
    parameters: distributed ? countParameters(model.config).total : own(),
    final: scores ? { [split]: scores } : {},
  }
}

/** Describes the device of a run, and the software. */
export function ranOn(device: Device): Pick<RunRecord, 'adapter' | 'driver' | 'features' | 'tuned' | 'versions' | 'peakBytes'> {
  return {
    adapter: device.summary.name,
    driver: device.summary.driver,
    features: [...device.gpu.features].sort(),
    tuned: device.kernels.tuned?.toJSON().answers ?? {},
    // A browser has no Node.
    versions: { node: globalThis.process?.versions?.node ?? 'none', paraformer: version, webgpu: runtime },
    peakBytes: device.memory.peakBytes,
  }
}

/** Writes run.json. @throws FileError when it cannot be written */
export function writeRunRecord(path: string, record: RunRecord): Promise<void> {
  return files.write(path, `${JSON.stringify(record, undefined, 2)}\n`)
}
