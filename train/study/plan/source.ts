import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { BuildFailure, BuildOptions, Plugin } from 'esbuild'
import { reason, UserError } from '../../../engine/index.ts'
import { optional } from '../../../engine/platform/optional.ts'
import { filesIn } from '../results/folder.ts'
import { defineStudy, type Study } from './define.ts'
import { hashOf } from './hash.ts'

/** The studies that come with the package: the code lies in a folder beside `train/`, two levels deep. */
const SHIPPED = fileURLToPath(new URL('../../train/studies/', import.meta.url))
/** The library that runs, so that the classes of a study are its classes. */
const LIBRARY = new URL('./index.js', import.meta.url).href

/** A study, with the code that it was loaded from. */
export interface LoadedStudy {
  study: Study
  file: string
  /** The study file with all that it imports but the library, as a module. */
  code: string
  /** Hash of that code without comments and formatting. */
  hash: string
}

/** Returns the names of the studies that come with the package. */
export async function shippedStudies(): Promise<string[]> {
  const names = await readdir(SHIPPED).catch(() => [])
  return names.filter((name) => existsSync(join(SHIPPED, name, 'study.ts'))).sort()
}

/** Returns the folder with the results of a study that come with the package; undefined where there are none. */
export async function shippedResults(name: string): Promise<string | undefined> {
  if (!(await shippedStudies()).includes(name)) return undefined
  const folder = join(SHIPPED, name)
  return existsSync(filesIn(folder).results) ? folder : undefined
}

/** Finds the file of a study. @throws UserError for a name that no study has, and a file that does not exist */
export async function studyFile(nameOrFile: string): Promise<string> {
  const names = await shippedStudies()
  if (names.includes(nameOrFile)) return join(SHIPPED, nameOrFile, 'study.ts')
  if (existsSync(nameOrFile) && /\.[cm]?[jt]sx?$/.test(nameOrFile)) return resolve(nameOrFile)
  throw new UserError(`${nameOrFile}: no such study; name one of ${names.join(', ')}, or a file such as ./my-study.ts`)
}

/**
 * Bundles a study file, runs it and checks what it exports.
 * @param nameOrFile the name of a study that comes with the package, or the path of a file
 * @throws UserError in one line for a file that does not compile, fails, or exports no study
 */
export async function loadStudy(nameOrFile: string): Promise<LoadedStudy> {
  const file = await studyFile(nameOrFile)
  const [code, plain] = await Promise.all([
    bundle(file, { plugins: [LIBRARY_AS_IT_RUNS], sourcemap: 'inline' }),
    bundle(file, { external: ['paraformer'], minify: true }),
  ])
  const study = await importStudy(code, file)
  return { study, file, code, hash: hashOf(plain) }
}

const LIBRARY_AS_IT_RUNS: Plugin = {
  name: 'library',
  setup({ onResolve }) {
    onResolve({ filter: /^paraformer(\/ops)?$/ }, () => ({ path: LIBRARY, external: true }))
  },
}

async function bundle(file: string, options: BuildOptions): Promise<string> {
  // Only studies need the bundler.
  const { build } = await optional(import('esbuild'), 'esbuild', `${file}: cannot be compiled`)
  try {
    const { outputFiles } = await build({
      entryPoints: [file],
      bundle: true,
      write: false,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      loader: { '.wgsl': 'text' },
      logLevel: 'silent',
      ...options,
    })
    return outputFiles![0]!.text
  } catch (error) {
    throw doesNotCompile(file, error as Partial<BuildFailure>)
  }
}

function doesNotCompile(file: string, error: Partial<BuildFailure>): UserError {
  const first = error.errors?.[0]
  if (!first) return new UserError(`${file}: does not compile (${reason(error)})`)
  const { text, location } = first
  const at = location
    ? `${isAbsolute(location.file) ? location.file : relative('.', location.file)}:${location.line}:${location.column + 1}`
    : file
  return new UserError(`${at}: the study does not compile: ${text.replace(/\s+/g, ' ')}`)
}

async function importStudy(code: string, file: string): Promise<Study> {
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-study-'))
  try {
    const path = join(folder, 'study.mjs')
    await writeFile(path, code)
    return await studyOf(path, file)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Runs a bundled study.
 * @param path the bundle
 * @param file the file that messages name
 */
export async function studyOf(path: string, file = path): Promise<Study> {
  try {
    const { default: study } = (await import(pathToFileURL(path).href)) as { default?: Study }
    if (study === undefined) throw new UserError('it has no default export; write export default defineStudy({ … })')
    return defineStudy(study)
  } catch (error) {
    throw new UserError(`${file}: ${reason(error)}`)
  }
}
