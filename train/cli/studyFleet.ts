import { basename } from 'node:path'
import { Dispatcher } from '../fleet/dispatcher.ts'
import type { Target } from '../fleet/names.ts'
import type { FleetStore } from '../fleet/store.ts'
import { storeData } from '../fleet/storedData.ts'
import { loadDatasetOf } from '../run/data.ts'
import type { Settings } from '../settings.ts'
import { BUILD } from '../study/plan/build.ts'
import type { StudyData } from '../study/plan/data.ts'
import type { Study } from '../study/plan/define.ts'
import type { LoadedStudy } from '../study/plan/source.ts'
import type { StudyFolder } from '../study/results/folder.ts'
import type { Check } from '../study/run/check.ts'
import { readChecks, writeChecks } from '../study/run/checks.ts'
import type { Elsewhere, StudyHooks } from '../study/run/execute.ts'
import { type FleetFlags, openFleet } from './fleetOptions.ts'

/** Whether a study has a budget of time. */
export function measuresTime({ budget, arms }: Study): boolean {
  const own = Object.values(arms).map((arm) => (arm.budget === 'none' ? 'none' : (arm.budget?.equal ?? budget)))
  return own.includes('time')
}

export interface FleetOfStudy {
  fleet: FleetFlags & { fleet: string }
  loaded: LoadedStudy
  preset: string
  target: Target
  /** In milliseconds. */
  lease: number
  /** Settings of an arm, all of which have the same data. */
  settings: Settings
}

/** Opens a fleet for the runs of a study. @throws UserError when it cannot be reached */
export async function openElsewhere(
  { fleet, loaded, preset, target, lease, settings }: FleetOfStudy,
  folder: StudyFolder,
  data: StudyData,
  { note }: StudyHooks,
): Promise<Elsewhere> {
  const store = await openFleet(fleet, 'coordinator', true, note)
  // One check is written after the other.
  let writing = Promise.resolve()
  const onCheck = (check: Check) => {
    writing = writing.then(() => addCheck(folder.checks, check))
    return writing
  }
  const study = {
    study: loaded.study.id,
    preset,
    folder: basename(folder.path),
    code: loaded.hash,
    sources: BUILD.sources,
    data: data.hash,
    target,
    hasOwn: (arm: string) => {
      const { model, scheme, count, procedure } = loaded.study.arms[arm]!
      return (model ?? scheme ?? count ?? procedure) !== undefined
    },
  }
  if ('class' in target && target.class === 'browser') await shareData(store, data.hash, settings)
  const dispatcher = await Dispatcher.open(store, study, { onCheck, note, lease })
  return {
    do: (job, hooks) => dispatcher.do(job, hooks),
    async close() {
      await dispatcher.close()
      await store.close()
    },
  }
}

/** Puts the data set where workers in browsers find it. */
async function shareData({ files }: FleetStore, hash: string, settings: Settings): Promise<void> {
  await storeData(files, await loadDatasetOf(settings), hash)
}

/** Adds the check of a device of the fleet to those of a study, unless it is there. */
async function addCheck(path: string, check: Check): Promise<void> {
  const checks = await readChecks(path)
  const arms = Object.keys(check.arms)
  const known = checks.some(({ device, sources, study, arms: checked }) => {
    return (
      device === check.device &&
      sources === check.sources &&
      study === check.study &&
      arms.every((arm) => Object.hasOwn(checked, arm))
    )
  })
  if (!known) await writeChecks(path, [...checks, check])
}
