import { branchShape, countParameters } from '../../model/index.ts'
import type { RunData } from '../../train/run/loaders.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import type { RunInfo } from '../protocol.ts'

/** Describes an open run to the page. */
export function runInfo(
  { parts, position, totalSteps }: Trainer,
  { dataset }: RunData,
  { metrics, branchTimes }: Partial<Pick<RunInfo, 'branchTimes'>> & Pick<RunInfo, 'metrics'>,
): RunInfo {
  const { settings, model, train, evaluation } = parts
  return {
    settings,
    step: position.step,
    totalSteps,
    branches: branchShape(model.config).branches,
    classes: model.config.classes,
    parameters: countParameters(model.config).total,
    trainImages: train.count,
    evaluationImages: evaluation.count,
    metrics,
    leftOut: dataset.leftOut,
    branchTimes,
  }
}
