import { files } from '#platform'
import type { Tensor } from '../../engine/index.ts'
import { toHalves } from '../../kernels/half.ts'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry, type SafetensorsFile } from './safetensors.ts'

export { toFloat32 } from './dtypes.ts'

/** What can be saved: an engine tensor (read back from its device) or an entry as `loadSafetensors` gives it. */
export type Saveable = SafetensorsEntry | Pick<Tensor, 'shape' | 'dtype' | 'data'>

/**
 * Saves tensors to a safetensors file, atomically: the old file or the new one is there at every moment.
 * @param tensors by name, as a Map or a plain object; float32 tensors become F32, float16 F16, int32 I32
 * @param metadata strings, stored as `__metadata__`
 * @throws UserError in one line when the file cannot be written, or an entry's shape and data disagree
 */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Saveable> | Readonly<Record<string, Saveable>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const named = tensors instanceof Map ? [...tensors] : Object.entries(tensors)
  const entries = await Promise.all(named.map(async ([name, tensor]) => [name, await toEntry(tensor)] as const))
  await files.write(path, encodeSafetensors(new Map(entries), metadata))
}

/**
 * Loads a safetensors file: raw entries by name in the file's order (`toFloat32` converts one), and the metadata.
 * @throws UserError in one line when it is missing, unreadable or malformed
 */
export async function loadSafetensors(path: string): Promise<SafetensorsFile> {
  return decodeSafetensors(await files.read(path), path)
}

async function toEntry(tensor: Saveable): Promise<SafetensorsEntry> {
  if (typeof tensor.data !== 'function') return tensor as SafetensorsEntry
  const { shape, dtype } = tensor as Pick<Tensor, 'shape' | 'dtype'>
  const data = await tensor.data()
  if (dtype === 'float16') return { dtype: 'F16', shape: [...shape], data: toHalves(data) }
  return { dtype: dtype === 'int32' ? 'I32' : 'F32', shape: [...shape], data }
}
