import type * as v from 'valibot'
import { UserError } from '../../../engine/base/errors.ts'
import { NewerFormatError, readJsonFile } from '../../run/jsonFile.ts'

/** Says what is wrong with a file and that the report goes on without it. */
export type Note = (text: string) => void

/**
 * Reads a file of a run. A report shows whatever a run left behind, so a malformed file is noted and left out.
 * @returns undefined where it is left out, and where there is none
 * @throws UserError when it is of a newer format
 */
export async function orNote<T>(read: Promise<T>, note: Note): Promise<T | undefined> {
  try {
    return await read
  } catch (error) {
    if (!(error instanceof UserError) || error instanceof NewerFormatError) throw error
    note(`${error.message}; left out`)
    return undefined
  }
}

/** Reads a JSON file of a run as `orNote` does. */
export function readJson<const S extends v.GenericSchema>(
  path: string,
  schema: S,
  note: Note,
): Promise<v.InferOutput<S> | undefined> {
  return orNote(readJsonFile(schema, path), note)
}
