import { deviceKey } from '../../../engine/autotune/store.ts'
import { tuneDevice } from '../../../engine/autotune/tune.ts'
import { type Device, requestDevice } from '../../../engine/index.ts'
import { openData } from '../../run/data.ts'
import { configOf, startTrainer } from '../../run/start.ts'
import type { Settings } from '../../settings.ts'
import { hashOf } from '../plan/hash.ts'
import { type ArmParts, armParts } from './armParts.ts'
import { isDivergence } from './divergence.ts'
import type { CheckJob, CheckReport } from './job.ts'

/** Number of mini-batches of an epoch of a short run, and number of images that it evaluates. */
const BATCHES = 4
const EVALUATED = 64

/** Returns the settings of a run of one short epoch, of every pass of the scheme. */
function short(settings: Settings): Settings {
  const { maxSteps, ...rest } = settings
  return { ...rest, epochs: 1, trainImages: BATCHES * settings.batchSize, testImages: EVALUATED }
}

/** Trains each arm for a few mini-batches. @returns their bits; none on a device that is known */
export async function checkBits({ bundle, adapter, tune, arms, known }: CheckJob): Promise<CheckReport> {
  const device = await requestDevice({ adapter })
  try {
    const { name, driver } = device.summary
    const report = { device: deviceKey(device.summary), adapter: name, driver }
    if (known.includes(report.device)) return report
    const found: CheckReport['arms'] = {}
    for (const { arm, settings } of arms) {
      await tuneDevice(device, tune, () => {})
      found[arm] = await bitsOf(device, short(settings), await armParts(bundle, arm))
    }
    return { ...report, arms: found }
  } finally {
    device.destroy()
  }
}

async function bitsOf(device: Device, settings: Settings, own: ArmParts) {
  const data = await openData(settings)
  const options = { saveEvery: Number.MAX_SAFE_INTEGER, ...own.options(device, configOf(settings, data)) }
  const trainer = await startTrainer(device, settings, data, options)
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
  return { bits: hashOf(losses, scores, ...values), seconds: pace(done) }
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
