import type { Device } from '../../engine/index.ts'
import { createModel } from '../../model/index.ts'
import { AdamW } from '../optim/adamW.ts'
import { modelConfigOf, type Settings } from '../settings.ts'
import { type Checkpoint, modelOf, restoreOptimizer, type TrainingState } from './checkpoint.ts'
import type { RunData } from './data.ts'
import { Trainer } from './trainer.ts'

/** A trainer at its first step, or where a checkpoint left off. */
export function startTrainer(
  device: Device,
  settings: Settings,
  data: RunData,
  saveEvery: number,
  from?: { checkpoint: Checkpoint; state: TrainingState },
): Trainer {
  device.random.seed = settings.seed
  const model = from ? modelOf(from.checkpoint) : createModel(modelConfigOf(settings, data.dataset))
  const optimizer = new AdamW(model.namedParameters(), { weightDecay: settings.weightDecay })
  const { train, evaluation } = data
  const trainer = new Trainer({ device, model, optimizer, train, evaluation, settings, saveEvery })
  if (from) {
    restoreOptimizer(from.checkpoint, optimizer, from.state.steps)
    trainer.resume(from.state)
  }
  return trainer
}
