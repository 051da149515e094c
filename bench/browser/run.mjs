// Bundles and runs bench/browser/main.ts.
import { spawnSync } from 'node:child_process'
import { build } from 'esbuild'

const outfile = '.build/bench-browser/main.mjs'
await build({
  entryPoints: ['bench/browser/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  loader: { '.wgsl': 'text' },
  sourcemap: 'inline',
  logLevel: 'warning',
})
const { status } = spawnSync(process.execPath, ['--enable-source-maps', outfile, ...process.argv.slice(2)], {
  stdio: 'inherit',
})
process.exit(status ?? 1)
