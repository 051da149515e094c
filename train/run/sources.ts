import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** The state of the repository that a program runs in. */
export interface Sources {
  /** The commit that is checked out; null outside a repository, and without git. */
  commit: string | null
  /** Whether every file is as in that commit, and none beside it is new; null where there is no commit. */
  clean: boolean | null
}

/** Milliseconds after which git is not waited for. */
const PATIENCE = 10_000

/** Asks git for the commit of the repository that holds `folder`. */
export async function sourcesOf(folder = process.cwd()): Promise<Sources> {
  const git = async (...args: string[]) => {
    const options = { cwd: folder, timeout: PATIENCE, maxBuffer: 2 ** 26 }
    const { stdout } = await promisify(execFile)('git', ['--no-optional-locks', ...args], options)
    return stdout.trim()
  }
  try {
    const commit = await git('rev-parse', 'HEAD')
    return { commit, clean: (await git('status', '--porcelain')) === '' }
  } catch {
    return { commit: null, clean: null }
  }
}
