// Builds dist/ anew: the package for Node and for browsers, the command line, and the types. `npm ci`, `npm pack` and an
// installation from git run it.
import { execFile } from 'node:child_process'
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { buildConstants } from './buildInfo.mjs'
import { buildModules } from './buildModules.mjs'
import { strippedWgsl } from './buildWgsl.mjs'
import { buildWeb } from './web/build.mjs'

/** Typed arrays over an ArrayBuffer, as TypeScript prints them from 5.7 on. */
const TYPED_ARRAY = /\b((?:Big)?(?:Int|Uint|Float)\d+(?:Clamped)?Array)<ArrayBuffer>/g
const VIEW = /\bArrayBufferView<ArrayBuffer>/g

await rm('dist', { recursive: true, force: true })
await Promise.all([
  build({
    entryPoints: {
      cli: 'bench/cli.ts',
      index: 'train/index.ts',
      ops: 'train/ops.ts',
      batchWorkerThread: 'train/data/batchWorkerThread.ts',
      deviceProcess: 'train/devices/deviceProcess.ts',
      studyProcess: 'train/study/run/studyProcess.ts',
      isaProcess: 'bench/isa/isaProcess.ts',
    },
    outdir: 'dist/node',
    bundle: true,
    format: 'esm',
    plugins: [strippedWgsl],
    sourcemap: true,
    logLevel: 'warning',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    splitting: true,
    define: await buildConstants(),
  }),
  copySource('engine/platform/setup-lavapipe.sh', 'dist/node'),
  copySource('bench/isa/nullCommands.c', 'dist/node'),
  copySource('bench/fleet/lossyLink.py', 'dist/node'),
  buildModules(['train/index.ts', 'train/ops.ts'], 'dist/modules'),
  types('dist/types'),
  buildWeb('dist/web'),
])

/** Puts a file that the command line runs or compiles beside it. */
async function copySource(file, outdir) {
  await mkdir(outdir, { recursive: true })
  await copyFile(file, join(outdir, basename(file)))
}

/** Emits declarations that TypeScript 5.4 can read, too. */
async function types(outdir) {
  const tsc = join('node_modules', 'typescript', 'lib', 'tsc.js')
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.types.json', '--outDir', outdir]).catch((error) => {
    throw new Error(error.stdout || error.message)
  })
  for (const name of await readdir(outdir, { recursive: true })) {
    if (!name.endsWith('.d.ts')) continue
    const path = join(outdir, name)
    const text = await readFile(path, 'utf8')
    const older = text
      .replace(TYPED_ARRAY, 'InstanceType<typeof $1>')
      .replace(VIEW, '(ArrayBufferView & { readonly buffer: ArrayBuffer })')
    if (older !== text) await writeFile(path, older)
  }
}
