import { runsOn } from '../../kernels/spec.ts'
import { checkFunction, refusal } from '../base/checks.ts'
import { DeviceLostError, reason } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import type { CostModel } from './costModel.ts'
import { TuningDatabase, type TuningRecord } from './database.ts'
import { extractTasks, type TuningTask } from './extractTasks.ts'
import { Measurement, type MeasureResult } from './measurement.ts'
import { LateError, Runner } from './runner.ts'
import { DeviceStore, deviceKey } from './store.ts'
import { TunedVariants } from './tuned.ts'

/** How to choose variants: `off` by the specs alone, `cached` by the measurements kept so far, `full` after measuring what is missing. */
export const TUNE = ['off', 'cached', 'full'] as const
export type Tune = (typeof TUNE)[number]

export interface TuneOptions {
  /** Milliseconds to spend; default 4000. Tasks that do not fit are left for the next time. */
  budget?: number
  /** Called before each task with the number of finished tasks and the number of all tasks. */
  onProgress?(done: number, of: number): void
  /** Called before each task; true ends the tuning. */
  shouldStop?(): boolean
}

export interface TuneReport {
  /** The new records, each with the name of its kernel. */
  tuned: (TuningRecord & { kernel: string })[]
  /** The number of tasks that had a record before. */
  known: number
  /** The number of tasks that are left for the next time. */
  left: number
  seconds: number
  /** Why the records could not be saved; the device uses them all the same. */
  unkept?: string
}

const OPTIONS: OptionNames<TuneOptions> = { budget: true, onProgress: true, shouldStop: true }

const BUDGET = 4000
/** A task is worth tuning if it is at least this part of all work. */
const WORTHWHILE = 0.002
/** The floating-point operations that count as much as moving a byte, for the order of tasks. */
const FLOPS_A_BYTE = 10
/** The largest scratch memory of a task, in bytes. */
const MAX_BYTES = { software: 512 << 20, hardware: 4 * 2 ** 30 }

/**
 * Gives a device its tuned variants.
 * @param work launches the kernels to tune for, as the coming run will; only `full` calls it, and nothing of it is executed
 * @returns a report, for `full`
 * @throws ArgumentError when `device` is no device, `tune` is unknown, `work` is no function, or for unknown options
 */
export async function tuneDevice(
  device: Device,
  tune: Tune,
  work: () => void,
  options: TuneOptions = {},
): Promise<TuneReport | undefined> {
  checkDevice('tuneDevice', device)
  if (!TUNE.includes(tune)) throw refusal('tuneDevice', tune, `one of ${TUNE.join(', ')}`, 'tune')
  checkFunction('tuneDevice', work, 'work')
  checkOptions('tuneDevice', options, OPTIONS)
  const { budget = BUDGET, onProgress, shouldStop } = options
  if (!(typeof budget === 'number' && budget >= 0)) throw refusal('tuneDevice', budget, 'milliseconds, at least 0', 'budget')
  if (onProgress !== undefined) checkFunction('tuneDevice', onProgress, 'onProgress')
  if (shouldStop !== undefined) checkFunction('tuneDevice', shouldStop, 'shouldStop')
  device.kernels.tuned = new TunedVariants({ device: deviceKey(device.summary), answers: {} })
  if (tune === 'off') return undefined
  const database = new TuningDatabase(await DeviceStore.open(device.summary))
  const report = tune === 'full' ? await tuneTasks(device, extractTasks(device, work), database, options) : undefined
  device.kernels.tuned = database.variants()
  return report
}

/** Measures the tasks that have no record, those with the most work first, on a device of its own, and saves their records. */
export async function tuneTasks(
  device: Device,
  tasks: readonly TuningTask[],
  database: TuningDatabase,
  { budget = BUDGET, onProgress, shouldStop }: TuneOptions = {},
): Promise<TuneReport> {
  const began = performance.now()
  const deadline = began + budget
  const open = selectTasks(device, tasks, database)
  const tuned: TuneReport['tuned'] = []
  const costModel = database.costModel()
  let runner: Runner | undefined
  try {
    for (const [i, task] of open.entries()) {
      if (performance.now() > deadline || shouldStop?.()) break
      onProgress?.(i, open.length)
      runner ??= await openRunner(device, deadline - performance.now())
      if (!runner) break
      const result = await measure(runner, task, database, costModel, deadline)
      const { variant, broke, blamed } = result ?? {}
      if (result && variant !== undefined) tuned.push({ ...database.add(task, result), kernel: task.spec.name })
      else if (result) database.addFindings(task, result)
      if (blamed !== undefined) {
        database.addBreak(task.spec, blamed, broke === 'lost')
        // This is saved at once, since a user whose device hangs may end the process.
        await database.save().catch(() => {})
      }
      if (broke === 'lost') {
        runner.close()
        runner = undefined
      } else if (!(await runner.recover(deadline - performance.now()))) break
    }
  } finally {
    runner?.close()
  }
  const unkept = await database.save().then(
    () => ({}),
    (error: unknown) => ({ unkept: reason(error) }),
  )
  const known = tasks.filter((task) => database.has(task)).length - tuned.length
  const left = open.length - tuned.length
  return { tuned, known, left, seconds: (performance.now() - began) / 1000, ...unkept }
}

/** Opens a runner; undefined where devices of earlier runners are busy for longer than `limit` milliseconds. */
async function openRunner(device: Device, limit: number): Promise<Runner | undefined> {
  try {
    return await Runner.open(device, limit)
  } catch (error) {
    if (error instanceof LateError) return undefined
    throw error
  }
}

/** Measures a task; undefined where memory does not suffice or the default does not run. */
async function measure(
  runner: Runner,
  task: TuningTask,
  database: TuningDatabase,
  costModel: CostModel,
  deadline: number,
): Promise<MeasureResult | undefined> {
  const { spec } = task
  const { capabilities, kernels } = runner.device
  const fallback = kernels.variant(spec, task.problem)
  const candidates = spec.variants.filter((variant) => {
    const runs = runsOn(spec, variant, capabilities, task.problem)
    return variant !== fallback && runs && !database.isGivenUp(spec, variant)
  })
  const before = database.findings(task)
  let measurement: Measurement | undefined
  try {
    measurement = new Measurement({ runner, task, fallback, costModel, deadline, before })
    return await measurement.run(candidates)
  } catch (error) {
    if (!(error instanceof DeviceLostError)) return undefined
    return { ...before, fallback: fallback.name, ms: {}, broke: 'lost' }
  } finally {
    measurement?.dispose()
  }
}

/** The tasks worth tuning that have no record. Tasks with a variant that broke a measurement come last, then less work comes later. */
function selectTasks({ capabilities }: Device, tasks: readonly TuningTask[], database: TuningDatabase): TuningTask[] {
  const weight = ({ spec, problem, count }: TuningTask) => count * (spec.flops(problem) + FLOPS_A_BYTE * spec.bytes(problem))
  const total = tasks.reduce((sum, task) => sum + weight(task), 0)
  const most = capabilities.software ? MAX_BYTES.software : MAX_BYTES.hardware
  const risky = ({ spec }: TuningTask) => Number(spec.variants.some((variant) => database.breaks(spec, variant) > 0))
  return tasks
    .filter((task) => !database.has(task) && weight(task) >= WORTHWHILE * total)
    .filter(({ buffers }) => buffers.reduce((sum, bytes) => sum + bytes, 0) <= most)
    .sort((a, b) => risky(a) - risky(b) || weight(b) - weight(a))
}
