import { files } from '#platform'
import { UserError } from '../../engine/index.ts'
import { isOwn } from '../../train/data/names.ts'
import type { SavedRun } from '../../train/run/checkpoint.ts'
import type { RunData } from '../../train/run/loaders.ts'
import { evaluationMetrics, type Metric } from '../../train/run/metrics.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import { METRICS } from './kept.ts'

/** Reads the metrics up to a mini-batch; none where they are missing or malformed. */
export async function readMetrics(step: number): Promise<Metric[]> {
  try {
    const found: Metric[] = JSON.parse(new TextDecoder().decode(await files.read(METRICS)))
    return found.filter((metric) => metric.step <= step)
  } catch {
    return []
  }
}

/** The evaluations of a run whose checkpoint came without its metrics. */
export function pastEvaluations(trainer: Trainer, split: RunData['split']): Metric[] {
  const { stepsPerEpoch, history, scheme, position } = trainer
  return history.flatMap(({ epoch, losses, accuracies, images }) => {
    const step = Math.min((epoch + 1) * stepsPerEpoch, position.step)
    const at = { time: 0, epoch, pass: scheme.passes.length - 1, step, split, flops: 0 }
    return evaluationMetrics({ losses, accuracies, images }, at)
  })
}

/** @throws UserError for a run that trains on more images of a data set than the page has */
export function checkPageData(name: string, { state }: SavedRun, { dataset }: RunData): void {
  const { trainImages, validation } = state.settings
  if (isOwn(dataset.name) || (validation === 0 && trainImages !== undefined && trainImages <= dataset.train.count)) return
  throw new UserError(
    `${name}: its run trains on more than the first ${dataset.train.count} images of ${dataset.name}, which this page has; go on with paraformer train --resume`,
  )
}
