import * as v from 'valibot'
import { files } from '#platform'
import { amount, count, fields, listOf, mapOf, text } from '../../../engine/base/json.ts'
import { UserError } from '../../../engine/index.ts'
import { FORMAT } from '../../run/format.ts'
import { readJsonFile } from '../../run/jsonFile.ts'
import { BUILD } from '../plan/build.ts'
import { canonical } from '../plan/canonical.ts'
import type { Study } from '../plan/define.ts'
import { hashOf } from '../plan/hash.ts'
import { statedSettings } from '../plan/plan.ts'
import type { LoadedStudy } from '../plan/source.ts'
import type { StudyFolder } from './folder.ts'

/** A rule of the decision, as `Rule` describes it. */
const RULE = fields({
  claim: text,
  compare: v.strictTuple([text, text], 'two arms'),
  metric: v.optional(v.union([text, v.strictTuple([text, text])], 'a metric, or one for each arm')),
  better: v.picklist(['higher', 'lower'], 'higher or lower'),
  margin: v.optional(amount),
})

/** A comparison that decides a claim, as it was stated. */
export type Rule = v.InferOutput<typeof RULE>

const STATEMENT = fields({
  id: text,
  preset: text,
  hypothesis: text,
  prediction: text,
  metric: text,
  decisionRule: listOf(RULE),
  baseline: text,
  budget: text,
  tuning: v.optional(mapOf(v.unknown())),
  seeds: listOf(count),
  arms: mapOf(mapOf(v.unknown())),
})

/** The statement of a study before its first run. */
export type Statement = v.InferOutput<typeof STATEMENT>

const REGISTERED = fields({
  format: count,
  /** Hash of statement and code. */
  hash: text,
  /** Hash of the study file. */
  code: text,
  /** The time at which the study was registered, and the version of the package that registered it. */
  at: text,
  version: text,
  commit: v.nullable(text),
  clean: v.nullable(v.boolean('true or false')),
  sources: text,
  statement: STATEMENT,
  /** Later changes, in order. */
  deviations: listOf(
    fields({ at: text, reason: text, changed: listOf(text), hash: text, code: text, sources: text, statement: STATEMENT }),
  ),
})

/** The content of registered.json. */
export type Registered = v.InferOutput<typeof REGISTERED>

/** Returns what a study states at a preset, with the settings of each arm and the text of its functions. */
export function statementOf(study: Study, preset: string): Statement {
  const { id, hypothesis, prediction, metric, decisionRule, baseline, budget, tuning, seeds, arms } = study
  const stated = Object.entries(arms).map(([name, { description, model, count, scheme, budget, procedure }]) => {
    const { seed, ...settings } = statedSettings(study, preset, name, seeds[0]!)
    const own = typeof scheme === 'object' ? `${scheme.name} ${scheme.make}` : scheme
    const functions = Object.entries({ model, count, scheme: own }).filter(([, value]) => value !== undefined)
    const code = Object.fromEntries(functions.map(([field, value]) => [field, String(value)]))
    return [
      name,
      { settings, ...(description && { description }), ...(budget && { budget }), ...(procedure && { procedure }), ...code },
    ]
  })
  return JSON.parse(
    canonical({
      ...{ id, preset, hypothesis, prediction, metric, decisionRule, budget, tuning, seeds },
      baseline: baseline ?? Object.keys(arms)[0]!,
      arms: Object.fromEntries(stated),
    }),
  )
}

/** Reads registered.json; undefined where there is none. @throws UserError for a malformed one, and one of a newer version */
export async function readRegistered(path: string): Promise<Registered | undefined> {
  const registered = await readJsonFile(REGISTERED, path)
  if (registered && hashOf(registered.statement, registered.code) !== registered.hash)
    throw new UserError(`${path}: its hash is not that of its statement, so it was changed by hand; restore it`)
  return registered
}

/**
 * Registers a study before its first run, or compares it with what is registered.
 * @param deviate the reason for a change, which is then recorded
 * @returns what is registered now
 * @throws UserError in one line for a change without a reason
 */
export async function register(
  { study, hash: code }: Pick<LoadedStudy, 'study' | 'hash'>,
  preset: string,
  folder: StudyFolder,
  deviate?: string,
): Promise<Registered> {
  const found = await readRegistered(folder.registered)
  const statement = statementOf(study, preset)
  const { version, commit, clean, sources } = BUILD
  const now = { hash: hashOf(statement, code), code, sources, statement, at: new Date().toISOString() }
  if (!found) {
    const registered = { format: FORMAT, ...now, version, commit, clean, deviations: [] }
    await writeRegistered(folder, registered)
    return registered
  }
  const changed = changes(found.deviations.at(-1) ?? found, now)
  if (changed.length === 0) return found
  if (deviate === undefined) {
    throw new UserError(
      `${folder.registered}: ${changed.join(', ')} changed after the study was registered; undo that, choose another --out, or give the reason with --deviate`,
    )
  }
  const registered = { ...found, deviations: [...found.deviations, { ...now, reason: deviate, changed }] }
  await writeRegistered(folder, registered)
  return registered
}

/** Returns the statement that holds now. */
export function currentStatement({ statement, deviations }: Registered): Statement {
  return deviations.at(-1)?.statement ?? statement
}

/** Returns the hashes of all statements that results of a study may refer to. */
export function statementHashes(registered: Registered): string[] {
  return statedBy(registered).map(({ hash }) => hash)
}

/** Returns the hash of the statement that holds now. */
export function currentHash({ hash, deviations }: Registered): string {
  return deviations.at(-1)?.hash ?? hash
}

/** A statement that was registered, or that a deviation put in its place. */
export type Stated = Pick<Registered, 'hash' | 'code' | 'sources' | 'statement'>

/** Returns all that was stated, in order. */
export function statedBy(registered: Registered): Stated[] {
  return [registered, ...registered.deviations]
}

/** Whether an arm has functions of its own, of which the statement has only the text. */
export function hasOwnCode({ arms }: Statement, name: string): boolean {
  return ['model', 'scheme', 'count'].some((field) => Object.hasOwn(arms[name] ?? {}, field))
}

/** Names what differs: fields of the statement, `arms.joint` for an arm, the study's own code, and the package. */
function changes(before: Stated, after: Stated): string[] {
  const stated = changedFields(before.statement, after.statement)
  const names = Object.keys(after.statement.arms)
  const code = before.code !== after.code && names.some((arm) => hasOwnCode(after.statement, arm))
  return [
    ...stated,
    ...(code ? ['the code of the study'] : []),
    ...(before.sources === after.sources ? [] : ['the sources of the package']),
  ]
}

function changedFields(before: Statement, after: Statement): string[] {
  const differ = (a: unknown, b: unknown) => canonical(a ?? null) !== canonical(b ?? null)
  return Object.keys({ ...before, ...after }).flatMap((name) => {
    const [a, b] = [before, after].map((statement) => statement[name as keyof Statement])
    if (!differ(a, b)) return []
    if (name !== 'arms') return [name]
    const [armsBefore, armsAfter] = [a, b] as [Statement['arms'], Statement['arms']]
    return Object.keys({ ...armsBefore, ...armsAfter }).flatMap((arm) =>
      differ(armsBefore[arm], armsAfter[arm]) ? [`arms.${arm}`] : [],
    )
  })
}

async function writeRegistered(folder: StudyFolder, registered: Registered): Promise<void> {
  await files.write(folder.registered, `${JSON.stringify(registered, null, 2)}\n`)
}
