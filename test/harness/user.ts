import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dependencies } from '../../package.json'

/** A folder of a user, in which the package is installed and the examples lie. */
export interface User {
  folder: string
  /** Runs a program there. @returns what it prints @throws Error with all of its output unless its exit code is 0 */
  start(program: string, ...args: string[]): string
  remove(): void
}

/** Makes such a folder. The package has its own manifest, and the files that the test runner builds as `build.mjs` builds them for Node. */
export function makeUser(): User {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-user-'))
  const installed = join(folder, 'node_modules', 'paraformer')
  const built = dirname(fileURLToPath(import.meta.url))
  const programs = join(folder, 'node_modules', '.bin')
  for (const made of [join(installed, 'dist'), programs]) mkdirSync(made, { recursive: true })
  cpSync('package.json', join(installed, 'package.json'))
  symlinkSync(built, join(installed, 'dist', 'node'))
  chmodSync(join(built, 'cli.js'), 0o755)
  symlinkSync(join(built, 'cli.js'), join(programs, 'paraformer'))
  cpSync('examples', join(folder, 'examples'), { recursive: true })
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true })
    symlinkSync(resolve('node_modules', name), join(folder, 'node_modules', name))
  }
  // The data sets are whole, as the package finds them by itself.
  const { PARAFORMER_DATA: _, ...env } = process.env
  return {
    folder,
    start(program, ...args) {
      const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: folder, env, encoding: 'utf8' })
      if (status !== 0) throw error ?? new Error(`${program} ${args.join(' ')} ended with ${status}: ${stdout}${stderr}`)
      return stdout
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}

/** Returns the numbers that stand after `before` in a text, such as `loss ` or a name of a row. @throws Error where there are none */
export function numbersAfter(text: string, before: RegExp): number[] {
  const [, rest = ''] = new RegExp(`${before.source}([^\\n]*)`).exec(text) ?? []
  const found = [...rest.matchAll(/-?\d+(\.\d+)?(e[+-]\d+)?/g)].map(([number]) => Number(number))
  if (found.length === 0) throw new Error(`no number after ${before} in: ${text}`)
  return found
}
