import { join } from 'node:path'

/** The folder of all studies, unless a command names another. */
export const STUDIES = join('runs', 'studies')

/** The files of a study at one preset. */
export interface StudyFolder {
  path: string
  /** The statement that was registered before the first run. */
  registered: string
  /** One line for each finished run, and one for each trial of tuning. */
  results: string
  trials: string
  /** Devices on which the same seed was seen to give the same bits. */
  checks: string
  /** The bundled study file, which runs import. */
  bundle: string
  /** A file that exists while a process runs the study. */
  lock: string
}

/** Returns the folder of a study. @param out the folder of all studies */
export function studyFolder(out: string, id: string, preset: string): StudyFolder {
  return filesIn(join(out, `${id}-${preset}`))
}

/** Names the files in the folder of a study. */
export function filesIn(path: string): StudyFolder {
  return {
    path,
    registered: join(path, 'registered.json'),
    results: join(path, 'results.jsonl'),
    trials: join(path, 'trials.jsonl'),
    checks: join(path, 'checks.json'),
    bundle: join(path, 'study.mjs'),
    lock: join(path, 'study.lock'),
  }
}

/** Returns the folder of a run, or of a trial of tuning. */
export function runPath({ path }: StudyFolder, kind: 'run' | 'trial', key: string): string {
  return join(path, kind === 'run' ? 'runs' : 'trials', key)
}

/** The checkpoint in the folder of a run, and the record that is there once it is finished. */
export const checkpointIn = (run: string) => join(run, 'checkpoint.safetensors')
export const recordIn = (run: string) => join(run, 'run.json')
