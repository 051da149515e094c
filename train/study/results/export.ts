import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { files, UserError } from '../../../engine/index.ts'
import { filesIn, runPath } from './folder.ts'
import { readRegistered } from './registration.ts'
import { readResults } from './results.ts'

/** Small files of a run that a report draws besides its metrics. */
const DRAWN = ['settings.json', 'attention.json', 'compression.json', 'expansion.json']

/** The number and the size of the runs that an export has written. */
export interface Exported {
  runs: number
  bytes: number
}

/**
 * Copies what a report of a study needs, without checkpoints and models: its registration, results, trials and checks of the
 * device, and for each run its settings, its evaluations (the lines of metrics.jsonl that are not of training) and its compression or expansion. A study goes on
 * from such a folder: finished runs are not run again.
 * @param from the folder of the study
 * @param to the folder that is written; what it holds besides stays
 * @throws UserError for a folder without results, for malformed files, and for a `to` that holds another study
 */
export async function exportStudy(from: string, to: string): Promise<Exported> {
  const [source, target] = [filesIn(from), filesIn(to)]
  const registered = await readRegistered(source.registered)
  if (!registered || !existsSync(source.results))
    throw new UserError(`${from}: holds no results of a study; name a folder such as runs/studies/schemes-tiny`)
  const results = await readResults(source.results, registered)
  const other = await readRegistered(target.registered)
  if (other && other.hash !== registered.hash)
    throw new UserError(`${to}: holds results of another registration; name another folder, or remove it`)
  let bytes = 0
  const copy = async (path: string, destination: string, change = (content: Uint8Array) => content) => {
    if (!existsSync(path)) return
    const content = change(await files.read(path))
    await files.write(destination, content)
    bytes += content.length
  }
  for (const { key } of results) {
    const [run, copied] = [runPath(source, 'run', key), runPath(target, 'run', key)]
    for (const name of DRAWN) await copy(join(run, name), join(copied, name))
    await copy(join(run, 'metrics.jsonl'), join(copied, 'metrics.jsonl'), evaluations)
  }
  // The results come last, so that no folder ever names runs that it lacks.
  for (const name of ['registered', 'checks', 'trials', 'results'] as const) await copy(source[name], target[name])
  return { runs: results.length, bytes }
}

/** Returns the lines of metrics that are evaluations. */
function evaluations(content: Uint8Array): Uint8Array {
  const lines = new TextDecoder().decode(content).split('\n')
  const kept = lines.filter((line) => line !== '' && !line.includes('"split":"train"'))
  return new TextEncoder().encode(kept.map((line) => `${line}\n`).join(''))
}
