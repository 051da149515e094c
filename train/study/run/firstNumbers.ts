import type { Device } from '../../../engine/index.ts'
import type { RunData } from '../../run/loaders.ts'
import { type StartOptions, startTrainer } from '../../run/start.ts'
import type { Settings } from '../../settings.ts'
import { isDivergence } from './divergence.ts'

/** Number of mini-batches of an epoch of a short run, and number of images that it evaluates. */
const BATCHES = 4
const EVALUATED = 64

/** Returns the settings of a run of one short epoch, of every pass of the scheme. */
export function short(settings: Settings): Settings {
  const { maxSteps, ...rest } = settings
  return { ...rest, epochs: 1, trainImages: BATCHES * settings.batchSize, testImages: EVALUATED }
}

/**
 * Trains a short run, and closes its data.
 * @param own the scheme and the model of an arm that has its own
 * @returns losses, norms of gradients, evaluations and parameters, and the seconds of a mini-batch
 */
export async function firstNumbers(
  device: Device,
  settings: Settings,
  data: RunData,
  own: Pick<StartOptions, 'scheme' | 'createModel'> = {},
): Promise<{ numbers: unknown[]; seconds: number }> {
  const trainer = await startTrainer(device, settings, data, { saveEvery: Number.MAX_SAFE_INTEGER, ...own })
  const losses: unknown[] = []
  const done = [performance.now()]
  try {
    await trainer.run({
      onStep(report) {
        done.push(performance.now())
        losses.push(report.losses, report.norms)
      },
    })
  } catch (error) {
    // An arm that diverges at once must do so each time, and its run records that.
    if (!isDivergence(error)) throw error
    losses.push(error.message)
  } finally {
    await Promise.all([data.train.close(), data.evaluation.close()])
  }
  const values = await Promise.all(trainer.parts.model.parameters().map((parameter) => parameter.data()))
  const scores = trainer.history.map(({ losses, accuracies }) => [losses, accuracies])
  return { numbers: [losses, scores, ...values], seconds: pace(done) }
}

/**
 * Returns the mean seconds from one mini-batch to the next; not the median, since of so few mini-batches several may end at
 * once. The first one, which compiles, counts only where it is alone.
 * @param done milliseconds at which training began, and at which each mini-batch was done
 */
function pace(done: readonly number[]): number {
  const from = done.length > 2 ? 1 : 0
  return (done.at(-1)! - done[from]!) / (1000 * (done.length - 1 - from))
}
