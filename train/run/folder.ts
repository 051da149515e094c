import { existsSync } from 'node:fs'
import { access, constants, mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import { fileError, makeFolder } from '../../engine/platform/files.ts'
import type { Settings } from '../settings.ts'
import { RunLock } from './lock.ts'

/** The files of a run. */
export interface RunFolder {
  path: string
  /** Everything that the run needs to resume. */
  checkpoint: string
  /** The parameters alone, after the last evaluation. */
  model: string
  metrics: string
  /** The settings of the run, written when it begins. */
  settings: string
  /** The finished run in numbers. */
  record: string
  /** How the branches of the trained model attend to some images. */
  attention: string
  /** A file that exists while a process trains in the folder. */
  lock: string
}

function filesOf(path: string): RunFolder {
  return {
    path,
    checkpoint: join(path, 'checkpoint.safetensors'),
    model: join(path, 'model.safetensors'),
    metrics: join(path, 'metrics.jsonl'),
    settings: join(path, 'settings.json'),
    record: join(path, 'run.json'),
    attention: join(path, 'attention.json'),
    lock: join(path, 'run.lock'),
  }
}

/** The folder of a run, locked against other processes. */
export interface HeldFolder {
  folder: RunFolder
  lock: RunLock
}

/**
 * Makes and locks the folder of a new run.
 * @param asked its path; default a new folder under runs/
 * @param say is called when the file system has no locks
 * @throws UserError when it holds a run already, another process has it, or it cannot be written
 */
export async function newRunFolder(
  asked: string | undefined,
  settings: Settings,
  say: (text: string) => void,
): Promise<HeldFolder> {
  const folder = filesOf(asked ?? (await makeFreeFolder(settings)))
  refuseRun(folder)
  const lock = await RunLock.take(folder.lock, say)
  try {
    await access(folder.path, constants.W_OK)
    // Another process may have begun and ended a run before the lock was taken.
    refuseRun(folder)
  } catch (error) {
    await lock.release()
    throw error instanceof UserError ? error : fileError(folder.path, error)
  }
  return { folder, lock }
}

function refuseRun({ path, checkpoint, model }: RunFolder): void {
  if (existsSync(checkpoint)) {
    throw new UserError(`${path}: holds a run; go on with --resume ${path}, or choose another --out`)
  }
  if (existsSync(model)) throw new UserError(`${path}: holds a model; choose another --out`)
}

/**
 * Locks the folder of a run to resume.
 * @param path the folder or its checkpoint
 * @param say is called when the file system has no locks
 * @throws UserError when there is no checkpoint, or another process trains in the folder
 */
export async function existingRunFolder(path: string, say: (text: string) => void): Promise<HeldFolder> {
  const isFile = await stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
  const folder = isFile ? { ...filesOf(join(path, '..')), checkpoint: path } : filesOf(path)
  if (!existsSync(folder.checkpoint)) {
    throw new UserError(`${folder.checkpoint}: no such file; name the folder of a run that was saved`)
  }
  return { folder, lock: await RunLock.take(folder.lock, say) }
}

/** Makes a folder with a name that no other run has. */
async function makeFreeFolder({ dataset, architecture, scheme }: Settings): Promise<string> {
  const base = join('runs', `${dataset}-${architecture}-${scheme}`)
  for (let i = 1; ; i++) {
    const path = i === 1 ? base : `${base}-${i}`
    try {
      await makeFolder(dirname(path))
      await mkdir(path)
      return path
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST' || !existsSync(path)) throw fileError(path, error)
    }
  }
}
