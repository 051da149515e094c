import { existsSync } from 'node:fs'
import { access, constants, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { fileError, makeFolder } from '../../engine/platform/files.ts'
import type { Settings } from '../settings.ts'

/** The files of a run. */
export interface RunFolder {
  path: string
  /** Everything needed to resume. */
  checkpoint: string
  /** The parameters alone, after the last evaluation. */
  model: string
  metrics: string
  /** There while a process trains in the folder. */
  lock: string
}

function filesOf(path: string): RunFolder {
  return {
    path,
    checkpoint: join(path, 'checkpoint.safetensors'),
    model: join(path, 'model.safetensors'),
    metrics: join(path, 'metrics.jsonl'),
    lock: join(path, 'run.lock'),
  }
}

/**
 * A folder for a new run: the one asked for, or a new one under runs/.
 * @throws UserError when it holds a run already, or cannot be written
 */
export async function newRunFolder(asked: string | undefined, settings: Settings): Promise<RunFolder> {
  const folder = filesOf(asked ?? freeName(settings))
  if (existsSync(folder.checkpoint)) {
    throw new UserError(`${folder.path}: holds a run; go on with --resume ${folder.path}, or choose another --out`)
  }
  try {
    await makeFolder(folder.path)
    await access(folder.path, constants.W_OK)
  } catch (error) {
    throw fileError(folder.path, error)
  }
  return folder
}

/** The folder of the run to resume, named by itself or by its checkpoint. @throws UserError when there is no checkpoint */
export async function existingRunFolder(path: string): Promise<RunFolder> {
  const isFile = await stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
  const folder = isFile ? { ...filesOf(join(path, '..')), checkpoint: path } : filesOf(path)
  if (!existsSync(folder.checkpoint)) {
    throw new UserError(`${folder.checkpoint}: no such file; name the folder of a run that was saved`)
  }
  return folder
}

function freeName({ dataset, architecture, scheme }: Settings): string {
  const base = join('runs', `${dataset}-${architecture}-${scheme}`)
  let name = base
  for (let i = 2; existsSync(name); i++) name = `${base}-${i}`
  return name
}
