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

/** `off`: the specs' own choices. `cached`: what was found out before, where it was. `full`: what was not is found out first. */
export const TUNE = ['off', 'cached', 'full'] as const
export type Tune = (typeof TUNE)[number]

export interface TuneOptions {
  /** Milliseconds to spend; default 4000. What does not fit is left for the next time. */
  budget?: number
  onProgress?(done: number, of: number): void
  /** Asked between problems. */
  shouldStop?(): boolean
}

export interface TuneReport {
  /** New answers, with the kernel's name. */
  tuned: (TuningRecord & { kernel: string })[]
  /** Problems that had answers. */
  known: number
  /** Problems left for the next time. */
  left: number
  seconds: number
  /** Why the answers could not be kept; they are used all the same. */
  unkept?: string
}

const OPTIONS: OptionNames<TuneOptions> = { budget: true, onProgress: true, shouldStop: true }

const BUDGET = 4000
/** Part of the work below which a problem is not worth the time. */
const WORTHWHILE = 0.002
/** Operations that take as long as moving a byte, for the order. */
const FLOPS_A_BYTE = 10
/** Bytes of scratch memory at most. */
const MAX_BYTES = { software: 512 << 20, hardware: 4 * 2 ** 30 }

/**
 * Gives a device the variants that `tune` means.
 * @param work what is going to be run, for `full` to look at: see `survey`
 * @returns what was found out, for `full`
 * @throws ArgumentError for what is no device, an unknown way to tune, work that is no function, and unknown options
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
  const answers = new TuningDatabase(await DeviceStore.open(device.summary))
  const report = tune === 'full' ? await tuneProblems(device, extractTasks(device, work), answers, options) : undefined
  device.kernels.tuned = answers.variants()
  return report
}

/** Finds and keeps the fastest variants for problems without answer, the weightiest first, on a device apart. */
export async function tuneProblems(
  device: Device,
  problems: readonly TuningTask[],
  answers: TuningDatabase,
  { budget = BUDGET, onProgress, shouldStop }: TuneOptions = {},
): Promise<TuneReport> {
  const began = performance.now()
  const deadline = began + budget
  const open = inOrder(device, problems, answers)
  const tuned: TuneReport['tuned'] = []
  const rates = answers.rates()
  let lab: Runner | undefined
  try {
    for (const [i, problem] of open.entries()) {
      if (performance.now() > deadline || shouldStop?.()) break
      onProgress?.(i, open.length)
      lab ??= await openLab(device, deadline - performance.now())
      if (!lab) break
      const verdict = await decide(lab, problem, answers, rates, deadline)
      const { variant, broke, blamed } = verdict ?? {}
      if (verdict && variant !== undefined) tuned.push({ ...answers.add(problem, verdict), kernel: problem.spec.name })
      else if (verdict) answers.addFindings(problem, verdict)
      if (blamed !== undefined) {
        answers.addBreak(problem.spec, blamed, broke === 'lost')
        // At once: whoever waits in vain for the device may end the process.
        await answers.save().catch(() => {})
      }
      if (broke === 'lost') {
        lab.close()
        lab = undefined
      } else if (!(await lab.recover(deadline - performance.now()))) break
    }
  } finally {
    lab?.close()
  }
  const unkept = await answers.save().then(
    () => ({}),
    (error: unknown) => ({ unkept: reason(error) }),
  )
  const known = problems.filter((problem) => answers.has(problem)).length - tuned.length
  const left = open.length - tuned.length
  return { tuned, known, left, seconds: (performance.now() - began) / 1000, ...unkept }
}

/** A lab, or undefined where what hangs since before leaves no time for one. */
async function openLab(device: Device, limit: number): Promise<Runner | undefined> {
  try {
    return await Runner.open(device, limit)
  } catch (error) {
    if (error instanceof LateError) return undefined
    throw error
  }
}

/** The verdict on a problem, or undefined where there is no memory for it or the default does not run. */
async function decide(
  lab: Runner,
  problem: TuningTask,
  answers: TuningDatabase,
  rates: CostModel,
  deadline: number,
): Promise<MeasureResult | undefined> {
  const { spec } = problem
  const fallback = lab.device.kernels.variant(spec, problem.problem)
  const candidates = spec.variants.filter((variant) => {
    const runs = runsOn(spec, variant, lab.device.capabilities, problem.problem)
    return variant !== fallback && runs && !answers.isGivenUp(spec, variant)
  })
  const before = answers.findings(problem)
  let race: Measurement | undefined
  try {
    race = new Measurement({ lab, problem, fallback, rates, deadline, before })
    return await race.run(candidates)
  } catch (error) {
    if (!(error instanceof DeviceLostError)) return undefined
    return { ...before, fallback: fallback.name, ms: {}, broke: 'lost' }
  } finally {
    race?.dispose()
  }
}

/** Problems worth tuning and without answer: the weightiest first, those with a variant that did not end before last. */
function inOrder({ capabilities }: Device, problems: readonly TuningTask[], answers: TuningDatabase): TuningTask[] {
  const weight = ({ spec, problem, count }: TuningTask) => count * (spec.flops(problem) + FLOPS_A_BYTE * spec.bytes(problem))
  const total = problems.reduce((sum, problem) => sum + weight(problem), 0)
  const most = capabilities.software ? MAX_BYTES.software : MAX_BYTES.hardware
  const risky = ({ spec }: TuningTask) => Number(spec.variants.some((variant) => answers.breaks(spec, variant) > 0))
  return problems
    .filter((problem) => !answers.has(problem) && weight(problem) >= WORTHWHILE * total)
    .filter(({ buffers }) => buffers.reduce((sum, bytes) => sum + bytes, 0) <= most)
    .sort((a, b) => risky(a) - risky(b) || weight(b) - weight(a))
}
