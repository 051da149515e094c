import type { Settings } from '../../settings.ts'
import { BUILD } from './build.ts'
import type { Procedure } from './define.ts'

/** Everything that decides the numbers of a run but the device and the library. */
export interface Deciding {
  kind: 'run' | 'trial'
  /** The name of the study. */
  study: string
  arm: string
  settings: Partial<Settings>
  /** Hash of the data set. */
  data: string
  /** Hash of the study file where the arm has functions of it, else empty. */
  code: string
  procedure?: Procedure | undefined
}

/** Returns the value whose hash is the key of a run. The settings of an arm without functions say all that its file says. */
export function keyParts({ kind, study, arm, settings, data, code, procedure }: Deciding): unknown[] {
  // The key does not depend on where the files lie.
  const { dataDir, download, ...deciding } = settings
  return [kind, study, arm, deciding, data, code, BUILD.version, BUILD.sources, ...(procedure ? [procedure] : [])]
}
