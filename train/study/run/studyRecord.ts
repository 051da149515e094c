import { branchShape } from '../../../model/index.ts'
import type { Evaluation } from '../../evaluate.ts'
import type { RunData } from '../../run/loaders.ts'
import { type RunRecord, runRecord } from '../../run/record.ts'
import type { StepTimes } from '../../run/stepTimes.ts'
import type { Trainer } from '../../run/trainer.ts'
import type { StepReport } from '../../run/trainerParts.ts'
import { BUILD } from '../plan/build.ts'
import type { Measures } from '../plan/define.ts'
import type { RunJob } from './job.ts'

/** The test scores of a trained model, and what its arm's procedure measured. */
export interface Judged {
  test: Evaluation
  measures?: Measures
}

/** A place in a run, and the work until then. */
export type Reached = Pick<StepReport, 'position' | 'flops'>

/** The part of a job that its record repeats. */
export type RecordedJob = Pick<RunJob, 'kind' | 'key' | 'arm' | 'flops'>

/** Describes a run of a study at its end. A trial has no test scores. */
export function studyRecord(
  { key, arm, flops }: RecordedJob,
  trainer: Trainer,
  data: RunData,
  times: StepTimes,
  { test, measures }: Partial<Judged> = {},
): RunRecord & { sources: string } {
  const { commit, clean, sources } = BUILD
  const record = runRecord(trainer, data, times, { commit, clean })
  const scores = test && { images: test.images, loss: test.losses, accuracy: test.accuracies }
  const final = { ...record.final, ...(scores && { test: scores }) }
  return { ...record, key, arm, sources, trainingFlops: flops ?? record.trainingFlops, ...(measures && { measures }), final }
}

/**
 * Describes a run of a study that ended because it diverged.
 * @param diverged the reason
 * @param last its last mini-batch of finite numbers
 */
export function divergedRecord(
  job: RecordedJob,
  trainer: Trainer,
  data: RunData,
  times: StepTimes,
  diverged: string,
  last: Reached,
): RunRecord {
  const { kind, flops } = job
  const { branches } = branchShape(trainer.parts.model.config)
  const none = Array.from({ length: branches }, () => Number.NaN)
  const scores = { loss: none, accuracy: none }
  const { step, updates } = last.position
  return {
    ...studyRecord(job, trainer, data, times),
    optimizerSteps: updates,
    images: step * Math.min(trainer.parts.settings.batchSize, data.train.count),
    trainingFlops: flops === undefined ? (last.flops ?? 0) : (flops * step) / trainer.totalSteps,
    diverged,
    final: { validation: scores, ...(kind === 'run' && { test: scores }) },
  }
}
