// Says what a build is made from, for the results of studies.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { build } from 'esbuild'
import { stripWgsl } from './buildWgsl.mjs'

/** Bundles WGSL without comments and line ends. */
const withoutComments = {
  name: 'WGSL without comments',
  setup({ onLoad }) {
    onLoad({ filter: /\.wgsl$/ }, ({ path }) => {
      return { contents: stripWgsl(readFileSync(path, 'utf8')).replace(/\s+/g, ' '), loader: 'text' }
    })
  },
}

/** Returns the constants that a build defines. */
export async function buildConstants() {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const { outputFiles } = await build({
    // The bundle holds the code of a training run and of what studies do after it, without comments and names, so that only code that
    // computes counts.
    entryPoints: [
      'train/run/start.ts',
      'train/run/data.ts',
      'train/evaluate.ts',
      'train/study/run/expansionRun.ts',
      'train/study/run/measure.ts',
    ],
    bundle: true,
    minify: true,
    write: false,
    outdir: 'sources',
    platform: 'node',
    format: 'esm',
    packages: 'external',
    plugins: [withoutComments],
    logLevel: 'silent',
  })
  const hash = createHash('sha256')
  for (const { text } of outputFiles) hash.update(text)
  const status = git('status', '--porcelain', '--untracked-files=no')
  const info = {
    version,
    commit: git('rev-parse', 'HEAD') ?? null,
    clean: status === undefined ? null : status === '',
    sources: hash.digest('hex').slice(0, 16),
  }
  return { PARAFORMER_BUILD: JSON.stringify(info) }
}

/** Runs git; undefined where it fails, as outside a repository. */
function git(...args) {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}
