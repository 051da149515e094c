import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { amount, count, fields, listOf, mapOf, text } from '../../engine/base/json.ts'
import { files, UserError } from '../../engine/index.ts'
import { sha256Of } from '../data/checksum.ts'
import { DATASET_KINDS } from '../data/datasets.ts'
import { FORMAT } from '../run/format.ts'
import { readJsonFile } from '../run/jsonFile.ts'
import { checkSettings, type SettingName, type Settings } from '../settings.ts'
import { INITS } from '../study/expand/model.ts'
import { SPLITS } from '../study/expand/splits.ts'
import { EXPANSION_ARMS, FREEZES, SOFTMAXES } from '../study/expand/ways.ts'

const PLAN = fields({
  format: count,
  /** The model that knows the first task; without one it is trained. */
  checkpoint: v.optional(fields({ path: text, sha256: text })),
  split: v.picklist(SPLITS, 'a split'),
  tasks: count,
  classSeed: v.optional(count),
  to: v.optional(v.picklist(DATASET_KINDS, 'a data set')),
  toDataDir: v.optional(text),
  add: count,
  freeze: v.picklist(FREEZES, 'what is frozen'),
  softmax: v.picklist(SOFTMAXES, 'all or task'),
  init: v.optional(v.picklist(INITS, 'zero or random')),
  replay: amount,
  arms: listOf(v.picklist(EXPANSION_ARMS, 'an arm')),
  settings: mapOf(v.unknown()),
})

/** Everything that decides an expansion, from which an expansion that was ended goes on: the content of expansion/plan.json. */
export type ExpansionPlan = Omit<v.InferOutput<typeof PLAN>, 'settings' | 'format'> & { settings: Settings }

/** Returns the folder of the training runs of an expansion. */
export function runsIn(folder: string): string {
  return join(folder, 'expansion')
}

const planIn = (folder: string) => join(runsIn(folder), 'plan.json')

/** @throws UserError when an expansion was begun in the folder */
export function refuseExpansion(folder: string): void {
  if (existsSync(planIn(folder)))
    throw new UserError(`${folder}: holds an expansion; go on with --resume ${folder}, or choose another --out`)
}

/** @throws FileError when it cannot be written */
export async function writePlan(folder: string, plan: ExpansionPlan): Promise<void> {
  await files.write(planIn(folder), `${JSON.stringify({ format: FORMAT, ...plan }, undefined, 2)}\n`)
}

/**
 * Reads the plan of an expansion that goes on.
 * @throws UserError in one line, also when the file of its checkpoint has changed since then
 */
export async function readPlan(folder: string): Promise<ExpansionPlan> {
  const path = planIn(folder)
  const found = await readJsonFile(PLAN, path)
  if (!found) throw new UserError(`${path}: no such file; name the folder of an expansion that was begun`)
  const { format, settings, ...plan } = found
  const { checkpoint } = plan
  if (checkpoint && (await sha256Of(checkpoint.path)) !== checkpoint.sha256)
    throw new UserError(`${checkpoint.path}: is not the file that the expansion in ${folder} began with; restore it`)
  return { ...plan, settings: checkSettings(settings as Partial<Record<SettingName, unknown>>) }
}
