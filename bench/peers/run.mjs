// Runs bench/peers/main.ts, with the peers installed.
import { spawnSync } from 'node:child_process'
import { buildPeers, outdir } from './build.mjs'

await buildPeers()
const { status, signal } = spawnSync(
  process.execPath,
  ['--enable-source-maps', `${outdir}/main.js`, ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
)
process.exit(signal ? 1 : status)
