// Installs the peers if they are missing or older than the lock file; then bundles and runs bench/peers/main.ts.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { build } from 'esbuild'

const folder = 'bench/peers'
const installed = `${folder}/node_modules/.package-lock.json`
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(`${folder}/package-lock.json`).mtimeMs) {
  console.error('installing the peers into bench/peers/node_modules (about 220 MB)')
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) process.exit(status ?? 1)
}
// The bundle lies beside the peers, so that it finds their packages.
const outdir = `${folder}/.build`
await build({
  entryPoints: ['main', 'child'].map((name) => `${folder}/${name}.ts`),
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
const { status, signal } = spawnSync(
  process.execPath,
  ['--enable-source-maps', `${outdir}/main.js`, ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
)
process.exit(signal ? 1 : status)
