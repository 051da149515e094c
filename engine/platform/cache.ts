import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from './files.ts'
import type { Texts } from './types.ts'

/** The folder for things that can be made again: $XDG_CACHE_HOME/paraformer, or ~/.cache/paraformer. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'paraformer')
}

/** Texts as files of the cache folder. */
export const texts: Texts = {
  read: (name) => readFile(join(cacheFolder(), name), 'utf8').catch(() => undefined),
  write: (name, text) => writeFileAtomic(join(cacheFolder(), name), text),
}
