// What the page keeps in the origin private file system.
import { files } from '#platform'

/** The folder of the last run. */
export const FOLDER = 'opfs:run'
export const CHECKPOINT = `${FOLDER}/checkpoint.safetensors`
export const METRICS = `${FOLDER}/metrics.json`
/** The parameters of the last finished run. */
export const MODEL = `${FOLDER}/model.safetensors`

/** Whether there is a file. */
export async function exists(path: string): Promise<boolean> {
  const file = await files.open(path).catch(() => undefined)
  await file?.close()
  return file !== undefined
}
