import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../../engine/index.ts'
import { Plan, type PlannedRun } from '../plan/plan.ts'
import { withReferences } from '../plan/selection.ts'
import { studyFolder } from '../results/folder.ts'
import { readRegistered } from '../results/registration.ts'
import { type Result, readResults, readTrials, type Trial } from '../results/results.ts'
import type { Check } from './check.ts'
import { paceOf, readChecks } from './checks.ts'
import { checkedArms, dataOf, type StudyHooks, type StudyRequest } from './execute.ts'
import { expectSeconds } from './expected.ts'
import { doJob } from './processes.ts'
import { chooseTuned } from './tuning.ts'

/** A run of the plan as a dry run shows it. */
export interface PreviewedRun extends PlannedRun {
  finished: boolean
  /** Expected seconds of the run; of a finished run the measured ones. */
  seconds: number | undefined
}

/**
 * Plans a study without running or registering it. Where nothing was measured yet, each arm is trained for a few mini-batches.
 * @returns undefined when it should stop
 */
export async function previewStudy(request: StudyRequest, hooks: StudyHooks): Promise<PreviewedRun[] | undefined> {
  const { loaded, preset, selection, out } = request
  const { study } = loaded
  const { arms, seeds } = selection
  const data = await dataOf(request)
  const folder = studyFolder(out, study.id, preset)
  const registered = await readRegistered(folder.registered)
  const results: Result[] = registered ? await readResults(folder.results, registered) : []
  const trials: Trial[] = registered ? await readTrials(folder.trials, registered) : []
  let checks = await readChecks(folder.checks)
  const involved = withReferences(study, arms)
  const tuned = trials.length > 0 ? chooseTuned(study, trials) : {}
  const planWith = (known: readonly Check[]) => new Plan({ ...request, data, pace: paceOf(known), tuned })
  const measured = new Set([...results.map(({ arm }) => arm), ...Object.keys(paceOf(checks))])
  if (!involved.every((arm) => measured.has(arm))) {
    const found = await measure(request, planWith(checks), involved, hooks)
    if (!found) return undefined
    checks = [...checks, found]
  }
  const plan = planWith(checks)
  const expected = expectSeconds({ results, checks })
  const planned = [...plan.trials(involved), ...plan.runs(arms, seeds)]
  return planned.map((run) => {
    if (run.trial) return { ...run, finished: trials.some(({ key }) => key === run.key), seconds: expected(run) }
    const result = results.find(({ arm, seed }) => arm === run.arm && seed === run.seed)
    return { ...run, finished: result !== undefined, seconds: result?.wallSeconds ?? expected(run) }
  })
}

/** Trains each arm for a few mini-batches in a process of its own, to know their times. */
async function measure(
  { loaded, adapter, tune }: StudyRequest,
  plan: Plan,
  arms: readonly string[],
  hooks: StudyHooks,
): Promise<Check | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-study-'))
  try {
    const bundle = join(folder, 'study.mjs')
    await writeFile(bundle, loaded.code)
    const outcome = await doJob({ kind: 'check', bundle, adapter, tune, ...checkedArms(plan, arms), known: [] }, hooks)
    if (outcome.how === 'failed') throw new UserError(outcome.message)
    if (outcome.how === 'stopped') return undefined
    const { arms: found, ...device } = outcome.report!
    return { ...device, sources: '', study: '', at: '', arms: found! }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
