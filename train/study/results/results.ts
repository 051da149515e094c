import { existsSync } from 'node:fs'
import * as v from 'valibot'
import { amount, count, fields, mapOf, parseJson, text } from '../../../engine/base/json.ts'
import { UserError } from '../../../engine/index.ts'
import { checkFormat, readJsonFile, readText } from '../../run/jsonFile.ts'
import { RUN_RECORD, type RunRecord, SCORES } from '../../run/record.ts'
import { type Registered, statedBy, statementHashes } from './registration.ts'

/** A run of a study that has ended, as run.json describes it. */
const RECORD = fields({
  ...RUN_RECORD.entries,
  key: text,
  arm: text,
  sources: text,
  trainingFlops: amount,
})

/** The content of run.json, which a run of a study writes at its end. */
export type StudyRecord = v.InferOutput<typeof RECORD>

/** Reads run.json of a run of a study; undefined while it is not finished. @throws UserError for a malformed one */
export function readRecord(path: string): Promise<StudyRecord | undefined> {
  return readJsonFile(RECORD, path)
}

const RESULT = fields({
  ...RECORD.entries,
  /** Hash of the statement under which it was run. */
  registration: text,
  settings: mapOf(v.unknown()),
  /** Trials of tuning that its settings were chosen among. */
  trials: count,
})

/** A line of results.jsonl: a run that has ended, if only because it diverged. */
export type Result = v.InferOutput<typeof RESULT>

const TRIAL = fields({
  format: count,
  registration: text,
  key: text,
  arm: text,
  seed: count,
  trial: count,
  /** The settings that the trial tries. */
  values: mapOf(v.unknown()),
  /** Scores after the last epoch; a trial that diverged has none, and a message. */
  validation: v.optional(SCORES),
  failed: v.optional(text),
})

/** A line of trials.jsonl: a finished trial of tuning. */
export type Trial = v.InferOutput<typeof TRIAL>

/**
 * Reads the results of a study; none where there is no file.
 * @param registered the registration that they are compared with; undefined where nothing was registered
 * @throws UserError in one line for a line that is malformed, of a newer version or of another registration, of an arm or seed
 *   that is not registered, or that repeats one before
 */
export async function readResults(path: string, registered: Registered | undefined): Promise<Result[]> {
  const results = await readLines(path, RESULT, registered)
  const lines = new Map<string, number>()
  results.forEach(({ arm, seed }, i) => {
    const before = lines.get(`${arm} ${seed}`)
    if (before !== undefined)
      throw new UserError(`${path}, line ${i + 1}: arm ${arm} has seed ${seed} already, in line ${before}; remove one`)
    lines.set(`${arm} ${seed}`, i + 1)
    if (registered && !statements(registered).some(({ seeds }) => seeds.includes(seed)))
      throw new UserError(`${path}, line ${i + 1}: seed ${seed} is not registered; remove the line`)
  })
  return results
}

/** Reads the trials of a study; none where there is no file. @throws UserError as `readResults` */
export function readTrials(path: string, registered: Registered): Promise<Trial[]> {
  return readLines(path, TRIAL, registered)
}

function statements(registered: Registered) {
  return statedBy(registered).map(({ statement }) => statement)
}

async function readLines<const S extends typeof RESULT | typeof TRIAL>(
  path: string,
  schema: S,
  registered: Registered | undefined,
): Promise<v.InferOutput<S>[]> {
  if (!existsSync(path)) return []
  const content = await readText(path)
  // A killed process may leave a last line that it did not finish, which the next run cuts off.
  const lines = content
    .slice(0, content.lastIndexOf('\n') + 1)
    .split('\n')
    .slice(0, -1)
  return lines.map((line, i) => {
    const where = `${path}, line ${i + 1}`
    checkFormat(line, where)
    const found = parseJson(schema, line, where)
    if (registered) checkRegistered(found, registered, where)
    return found
  })
}

/** Checks that a line belongs to the registration. @throws UserError for a line of another registration, or of an arm that is not registered */
function checkRegistered(found: Pick<Result, 'registration' | 'arm'>, registered: Registered, where: string): void {
  if (!statementHashes(registered).includes(found.registration))
    throw new UserError(`${where}: is a result of another registration; keep results and registered.json together`)
  if (!statements(registered).some(({ arms }) => Object.hasOwn(arms, found.arm)))
    throw new UserError(`${where}: arm ${found.arm} is not registered; remove the line`)
}

/**
 * Returns the metric of a result: testAccuracy, testLoss, validationAccuracy or validationLoss of the whole model at the end,
 * or the number at a path of the result, such as wallSeconds, final.test.accuracy.0 or measures.forgetting. Undefined where it
 * has none, NaN for a run that diverged.
 */
export function metricOf(
  result: { readonly final?: RunRecord['final']; readonly diverged?: string | undefined },
  metric: string,
): number | undefined {
  if (result.diverged !== undefined) return Number.NaN
  const [, split, kind] = /^(test|validation)(Accuracy|Loss)$/.exec(metric) ?? []
  const path = split === undefined ? metric.split('.') : ['final', split, kind!.toLowerCase()]
  let value: unknown = result
  for (const key of path) {
    const holds = typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    value = holds ? (value as Record<string, unknown>)[key] : undefined
  }
  if (split !== undefined) value = (value as number[] | undefined)?.at(-1)
  return typeof value === 'number' ? value : undefined
}
