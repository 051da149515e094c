import { flagOf, SETTINGS } from '../../settings.ts'
import type { Run } from './record.ts'
import type { StudyRecord } from './studyFolder.ts'

/** Returns the command that trains a run of these settings, with the flags that differ from the defaults. */
export function trainCommand({ settings, folder }: Pick<Run, 'settings' | 'folder'>): string {
  const flags = Object.entries(SETTINGS).flatMap(([name, setting]) => {
    const value = settings[name]
    if (value === undefined || value === null || value === ('default' in setting ? setting.default : undefined)) return []
    if (typeof value === 'boolean') return value ? [flagOf(name)] : []
    return [flagOf(name), quoted(Array.isArray(value) ? value.join(',') : String(value))]
  })
  return ['npx paraformer train', ...flags, ...(folder === undefined ? [] : ['--out', quoted(folder)])].join(' ')
}

/** Returns the command that runs a study at its preset. */
export function studyCommand({ statement: { id, preset } }: StudyRecord): string | undefined {
  if (id === undefined) return undefined
  return `npx paraformer study run ${quoted(id)}${preset === undefined ? '' : ` --preset ${quoted(preset)}`}`
}

/** Returns the command that makes the report of these folders. */
export function reportCommandLine(paths: readonly string[]): string {
  return `npx paraformer report ${paths.map(quoted).join(' ')}`
}

/** Quotes a word for a POSIX shell where that is needed. */
function quoted(word: string): string {
  return /^[\w.,/:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
