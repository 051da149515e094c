import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { amount, count, fields, listOf, mapOf, numberOrNaN, parseJson, text } from '../../../engine/base/json.ts'
import { reason, UserError } from '../../../engine/index.ts'
import { checkFormat, type Registered, statedBy, statementHashes } from './registration.ts'

/** Losses and accuracies of the prefixes, over so many images. */
const SCORES = fields({ images: v.optional(count), loss: listOf(numberOrNaN), accuracy: listOf(numberOrNaN) })

/** A finished run as run.json describes it, in a study. */
const RECORD = fields({
  format: count,
  key: text,
  arm: text,
  seed: count,
  commit: v.nullable(text),
  clean: v.nullable(v.boolean('true or false')),
  /** Hash of the code of the package that decides the numbers. */
  sources: text,
  adapter: text,
  driver: text,
  features: listOf(text),
  tuned: mapOf(text),
  versions: fields({ node: text, paraformer: text, webgpu: text }),
  coldSeconds: v.nullable(amount),
  warmSeconds: v.nullable(amount),
  peakBytes: amount,
  optimizerSteps: count,
  images: count,
  trainingFlops: amount,
  wallSeconds: amount,
  parameters: count,
  /** Scores of all prefixes after the last epoch. Trials of tuning have none on the test images. */
  final: fields({ validation: SCORES, test: v.optional(SCORES) }),
})

/** The content of run.json, which a run of a study writes at its end. */
export type StudyRecord = v.InferOutput<typeof RECORD>

/** Parses run.json of a run of a study. @throws UserError for a malformed one */
export function parseRecord(json: string, path: string): StudyRecord {
  return parseJson(RECORD, json, path)
}

const RESULT = fields({
  ...RECORD.entries,
  /** Hash of the statement under which it was run. */
  registration: text,
  settings: mapOf(v.unknown()),
  /** Trials of tuning that its settings were chosen among. */
  trials: count,
})

/** A line of results.jsonl: a finished run. */
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
 * @throws UserError in one line for a line that is malformed, of a newer version or of another registration, of an arm or seed that is
 *   not registered, or that repeats one before
 */
export async function readResults(path: string, registered: Registered): Promise<Result[]> {
  const results = await readLines(path, RESULT, registered)
  const lines = new Map<string, number>()
  results.forEach(({ arm, seed }, i) => {
    const before = lines.get(`${arm} ${seed}`)
    if (before !== undefined)
      throw new UserError(`${path}, line ${i + 1}: arm ${arm} has seed ${seed} already, in line ${before}; remove one`)
    lines.set(`${arm} ${seed}`, i + 1)
    if (!statements(registered).some(({ seeds }) => seeds.includes(seed)))
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
  registered: Registered,
): Promise<v.InferOutput<S>[]> {
  if (!existsSync(path)) return []
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UserError(`${path}: cannot be read (${reason(error)})`)
  })
  // A killed process may leave a last line that it did not finish, which the next run cuts off.
  const lines = content
    .slice(0, content.lastIndexOf('\n') + 1)
    .split('\n')
    .slice(0, -1)
  return lines.map((line, i) => {
    const where = `${path}, line ${i + 1}`
    checkFormat(line, where)
    const found = parseJson(schema, line, where)
    if (!statementHashes(registered).includes(found.registration))
      throw new UserError(`${where}: is a result of another registration; keep results and registered.json together`)
    if (!statements(registered).some(({ arms }) => Object.hasOwn(arms, found.arm)))
      throw new UserError(`${where}: arm ${found.arm} is not registered; remove the line`)
    return found
  })
}

/** The metric of a study: of the whole model at the end, or another number of a result by its name. @throws UserError for an unknown one */
export function metricOf(result: Pick<Result, 'final'>, metric: string): number {
  const { test, validation } = result.final
  const named: Record<string, number | undefined> = {
    testAccuracy: test?.accuracy.at(-1),
    testLoss: test?.loss.at(-1),
    validationAccuracy: validation.accuracy.at(-1),
    validationLoss: validation.loss.at(-1),
  }
  const value = Object.hasOwn(named, metric) ? named[metric] : (result as Record<string, unknown>)[metric]
  if (typeof value === 'number') return value
  throw new UserError(`results have no number ${metric}; name ${Object.keys(named).join(', ')}, or wallSeconds`)
}
