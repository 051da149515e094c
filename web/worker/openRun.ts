import type { RunData } from '../../train/run/loaders.ts'
import type { Metric } from '../../train/run/metrics.ts'
import { evaluationMetrics, stepMetrics } from '../../train/run/metrics.ts'
import { placeBefore } from '../../train/run/position.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import type { RunInfo, RunState, Told } from '../protocol.ts'
import type { MetricFeed } from './metricFeed.ts'
import type { Saver } from './saver.ts'

/** An open run. */
export interface Run {
  /** Tells it from the runs before it. */
  id: number
  data: RunData
  trainer: Trainer
  metrics: Metric[]
  saver: Saver
  /** Mini-batches that it may still train before it waits. */
  allowed: number
  /** Wakes a run that waits. */
  wake: () => void
  /** Whether it is to end without a further mini-batch. */
  ended: boolean
  /** Whether an error has ended it. */
  failed: boolean
  /** Settles when it has ended. */
  done: Promise<void>
  branchTimes: RunInfo['branchTimes']
  /** The loss of a device that no other one has replaced yet. */
  lost: { why: string; step: number } | undefined
}

/** Whether nothing is left to train. */
export function isOver({ position, totalSteps, evaluationDue }: Trainer): boolean {
  return position.step >= totalSteps && !evaluationDue
}

/** Returns the state of a run that does not train. */
export function restingState({ trainer, saver }: Run): RunState {
  return { kind: isOver(trainer) ? 'finished' : 'paused', kept: saver.kept, saved: saver.step !== undefined }
}

/** Whether a run saves now, and goes on afterwards. */
export function savesOnly(run: Run): boolean {
  return !run.ended && run.allowed > 0
}

/** Makes the hooks of a run: it saves, and tells metrics and progress. */
export function hooksOf(run: Run, feed: MetricFeed, tell: (message: Told) => void): NonNullable<Parameters<Trainer['run']>[0]> {
  const { trainer, data, saver } = run
  let before = trainer.elapsed
  return {
    shouldStop: () => run.ended || run.allowed <= 0 || saver.isDue(trainer),
    onBegin: () => {
      run.allowed--
    },
    onStep: (report) => {
      feed.add(run, stepMetrics(report, report.images / (report.time - before)))
      before = report.time
    },
    onEvaluating: (done, of) => tell({ kind: 'progress', what: 'Evaluating images', done, of }),
    onEpoch: ({ epoch, ...found }) => {
      const { position, scheme, flops, elapsed: time } = trainer
      const { pass } = placeBefore(position, scheme)
      feed.add(run, evaluationMetrics(found, { time, epoch, pass, step: position.step, split: data.split, flops: flops.total }))
      before = time
    },
    onSave: () => saver.save(trainer, run.metrics, data.info),
  }
}

/** Says why an error ended a run, and what is left of it. */
export function failureOf(error: unknown, { saver }: Run, deviceLost: boolean): string {
  const why = error instanceof Error ? error.message : String(error)
  const what = deviceLost ? `${why.split(';')[0]}, and no other one could take its place` : why
  if (saver.step === undefined) return `${what}. Nothing of the run was saved yet; press Reset to begin another one.`
  const next = saver.kept ? 'reload this page to go on from there, or press Reset' : 'save it, then press Reset'
  return `${what}. The checkpoint of mini-batch ${saver.step} is there: ${next}.`
}
