import { readFile } from 'node:fs/promises'
import { reason, UserError } from '../../engine/errors.ts'
import { writeFileAtomic } from '../../engine/platform/files.ts'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry, type SafetensorsFile } from './safetensors.ts'

/** Saves tensors to a file, atomically: the old file or the new one is there at every moment. UserError as one line. */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeFileAtomic(path, encodeSafetensors(tensors, metadata))
}

/** Loads a safetensors file. UserError in one line when it is missing, unreadable or malformed. */
export async function loadSafetensors(path: string): Promise<SafetensorsFile> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    const code = (error as { code?: string }).code
    if (code === 'ENOENT') throw new UserError(`${path}: no such file; check the path`)
    throw new UserError(`${path}: cannot be read (${code ?? reason(error)}); check the path and its permissions`)
  }
  return decodeSafetensors(bytes, path)
}
