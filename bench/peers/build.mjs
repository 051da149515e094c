// Installs the peers if they are missing or older than the lock file, and bundles the programs that run them.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { build } from 'esbuild'

const folder = 'bench/peers'
/** The folder of the bundles, beside the peers, so that they find their packages. */
export const outdir = `${folder}/.build`

/** Makes the peers ready to run; ends the process where they cannot be installed. */
export async function buildPeers() {
  const installed = `${folder}/node_modules/.package-lock.json`
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(`${folder}/package-lock.json`).mtimeMs) {
    console.error('installing the peers into bench/peers/node_modules (about 220 MB)')
    const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: folder,
      stdio: ['ignore', 2, 2],
    })
    if (status !== 0) process.exit(status ?? 1)
  }
  await build({
    entryPoints: ['main', 'child', 'capture'].map((name) => `${folder}/${name}.ts`),
    outdir,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    loader: { '.wgsl': 'text' },
    sourcemap: 'inline',
    logLevel: 'warning',
  })
  await build({
    entryPoints: [`${folder}/tensorflow.js`],
    outfile: `${outdir}/tensorflow.js`,
    bundle: true,
    platform: 'node',
    mainFields: ['module', 'main'],
    // The library loads Node's own modules with require().
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)" },
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  })
}
