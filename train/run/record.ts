import { files, runtime } from '#platform'
import { countParameters } from '../../model/index.ts'
import { version } from '../../package.json'
import type { RunData } from './data.ts'
import type { Sources } from './sources.ts'
import type { StepTimes } from './stepTimes.ts'
import type { Trainer } from './trainer.ts'

/** Scores of every prefix, prefix 1 first. JSON has null for a loss that is not finite. */
export interface Scores {
  loss: number[]
  accuracy: number[]
}

/** A finished run in numbers: the file run.json. */
export interface RunRecord extends Sources {
  format: 1
  /** Hash of what determines the run, and its arm, in a study. */
  key?: string
  arm?: string
  seed: number
  /** The adapter and driver of the (first) device, and its features. */
  adapter: string
  driver: string
  features: string[]
  /** Kernel variants that were tuned, by task. */
  tuned: Record<string, string>
  versions: { node: string; paraformer: string; webgpu: string }
  /** Seconds until the first mini-batch of the last session was done, which compiles kernels and captures steps. */
  coldSeconds: number | null
  /** Median seconds of a later mini-batch. */
  warmSeconds: number | null
  /** The most bytes that were in use on the (first) device at a time, in the last session. */
  peakBytes: number
  optimizerSteps: number
  /** Images of all mini-batches, each as often as it was trained on. */
  images: number
  /** Counted operations of the training; null where a part of the run was not counted. */
  trainingFlops: number | null
  /** Seconds of training and evaluation, in all sessions. */
  wallSeconds: number
  parameters: number
  /** The last evaluation, by split. */
  final: { test?: Scores; validation?: Scores }
}

/** Describes a finished run. */
export function runRecord(
  trainer: Trainer,
  { train, split }: Pick<RunData, 'train' | 'split'>,
  times: StepTimes,
  sources: Sources,
): RunRecord {
  const { device, settings, model, distributed } = trainer.parts
  const { position, history, flops, elapsed } = trainer
  const { losses, accuracies } = history.at(-1)!
  const own = () => model.parameters().reduce((sum, { size }) => sum + size, 0)
  const scores: Scores = { loss: losses, accuracy: accuracies }
  return {
    format: 1,
    seed: settings.seed,
    ...sources,
    adapter: device.summary.name,
    driver: device.summary.driver,
    features: [...device.gpu.features].sort(),
    tuned: device.kernels.tuned?.toJSON().answers ?? {},
    versions: { node: process.versions.node, paraformer: version, webgpu: runtime },
    coldSeconds: times.cold ?? null,
    warmSeconds: times.warm ?? null,
    peakBytes: device.memory.peakBytes,
    optimizerSteps: position.updates,
    // Every mini-batch has as many images as there are, at most those of the settings.
    images: position.step * Math.min(settings.batchSize, train.count),
    trainingFlops: flops.total ?? null,
    wallSeconds: elapsed,
    parameters: distributed ? countParameters(model.config).total : own(),
    final: split === 'test' ? { test: scores } : { validation: scores },
  }
}

/** Writes run.json. @throws FileError when it cannot be written */
export function writeRunRecord(path: string, record: RunRecord): Promise<void> {
  return files.write(path, `${JSON.stringify(record, undefined, 2)}\n`)
}
