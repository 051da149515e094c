import { files } from '#platform'
import { count, fields, listOf } from '../../../engine/base/json.ts'
import { UserError } from '../../../engine/index.ts'
import { FORMAT } from '../../run/format.ts'
import { readJsonFile } from '../../run/jsonFile.ts'
import { BUILD } from '../plan/build.ts'
import { CHECK, type Check } from './check.ts'
import type { CheckJob } from './job.ts'
import { doJob, type JobHooks } from './processes.ts'

const CHECKS = fields({ format: count, checks: listOf(CHECK) })

/** Reads the checks of a study; none where there is no file. @throws UserError for a malformed file */
export async function readChecks(path: string): Promise<Check[]> {
  return (await readJsonFile(CHECKS, path))?.checks ?? []
}

/** Writes the checks of a study. */
export async function writeChecks(path: string, checks: readonly Check[]): Promise<void> {
  await files.write(path, `${JSON.stringify({ format: FORMAT, checks }, null, 2)}\n`)
}

/** Returns the measured seconds of a mini-batch of each arm, by the earliest check that has the arm. */
export function paceOf(checks: readonly Check[]): Record<string, number> {
  const pace: Record<string, number> = {}
  for (const { arms } of checks) for (const [arm, { seconds }] of Object.entries(arms)) pace[arm] ??= seconds
  return pace
}

/**
 * Runs each arm twice for a few mini-batches, each time in a process of its own, unless the device is known, and records the bits.
 * @returns all checks; undefined when it should stop
 * @throws UserError when the bits of an arm differ, or the device cannot be opened
 */
export async function checkDevice(path: string, job: CheckJob, study: string, hooks: JobHooks): Promise<Check[] | undefined> {
  const checks = await readChecks(path)
  const names = job.arms.map(({ arm }) => arm)
  const holds = (check: Check) =>
    check.sources === BUILD.sources && check.study === study && names.every((arm) => Object.hasOwn(check.arms, arm))
  const known = checks.filter(holds).map(({ device }) => device)
  const once = async (known: string[]) => {
    const outcome = await doJob({ ...job, known }, hooks)
    if (outcome.how === 'failed') throw new UserError(outcome.message)
    return outcome.how === 'done' ? outcome.report : undefined
  }
  const first = await once(known)
  if (first && !first.arms) return checks
  const second = first && (await once([]))
  if (!first || !second) return undefined
  const different = names.find((arm) => first.arms![arm]!.bits !== second.arms![arm]!.bits)
  if (different !== undefined)
    throw new UserError(
      `arm ${different}: the same seed twice gives different bits on ${first.adapter}; its runs would not count`,
    )
  const { device, adapter, driver } = first
  // The second process finds compiled shaders, as later ones do.
  const check = { device, adapter, driver, sources: BUILD.sources, study, at: new Date().toISOString(), arms: second.arms! }
  const all = [...checks, check]
  await writeChecks(path, all)
  hooks.note(`${adapter}: the same seed twice gives the same bits in ${names.length} arms`)
  return all
}
