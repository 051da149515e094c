import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type * as v from 'valibot'
import { reason, UserError } from '../../engine/base/errors.ts'
import { accepted, count, fields, parseJson } from '../../engine/base/json.ts'
import { FORMAT } from './format.ts'

/** A file that a newer version of the package wrote. */
export class NewerFormatError extends UserError {}

/** @param what names the text @throws NewerFormatError when a JSON text says that it is of a newer format */
export function checkFormat(json: string, what: string): void {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return
  }
  const format = accepted(fields({ format: count }), value)?.format ?? FORMAT
  if (format > FORMAT)
    throw new NewerFormatError(
      `${what}: is of format ${format}, this version reads up to ${FORMAT}; use a newer version of paraformer`,
    )
}

/** Reads a text file. @throws UserError in one line */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new UserError(
      `${path}: cannot be read (${(error as { code?: string }).code ?? reason(error)}); check its permissions`,
    )
  }
}

/**
 * Reads a JSON file of a run or a study; undefined where there is none.
 * @throws UserError in one line for a file that is malformed, of a newer format, or that cannot be read
 */
export async function readJsonFile<const S extends v.GenericSchema>(
  schema: S,
  path: string,
): Promise<v.InferOutput<S> | undefined> {
  if (!existsSync(path)) return undefined
  const json = await readText(path)
  checkFormat(json, path)
  return parseJson(schema, json, path)
}
