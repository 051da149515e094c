import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type * as v from 'valibot'
import { reason, UserError } from '../../../engine/base/errors.ts'
import { accepted, count, fields, parseJson } from '../../../engine/base/json.ts'

/** The newest format of files that this version reads. */
const FORMAT = 1

/** Says what is wrong with a file and that the report goes on without it. */
export type Note = (text: string) => void

/** Reads a JSON file; a malformed one is noted. @throws UserError when it is of a newer format */
export async function readJson<const S extends v.GenericSchema>(
  path: string,
  schema: S,
  note: Note,
): Promise<v.InferOutput<S> | undefined> {
  if (!existsSync(path)) return undefined
  try {
    const json = await readText(path)
    checkFormat(path, json)
    return parseJson(schema, json, path)
  } catch (error) {
    if (!(error instanceof UserError) || error instanceof NewerFormat) throw error
    note(`${error.message}; left out`)
    return undefined
  }
}

class NewerFormat extends UserError {}

/** @throws UserError when a JSON text says that it is of a newer format */
export function checkFormat(path: string, json: string): void {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return
  }
  const format = accepted(fields({ format: count }), value)?.format ?? FORMAT
  if (format > FORMAT)
    throw new NewerFormat(`${path}: is of format ${format}, written by a newer version; update paraformer to read it`)
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
