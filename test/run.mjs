// Bundles the test files named on the command line (or all), runs each in a process of its own, and counts what ran.
import { fork } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'

const names = process.argv.slice(2)
const files = names.length > 0 ? names : find('test')
const outdir = `.build/test-${process.pid}`
await build({
  // Worker threads are started from files of their own.
  entryPoints: [...files, 'train/data/batchWorker.ts'],
  outdir,
  entryNames: '[name]',
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

let passed = 0
let failed = 0
for (const file of files) {
  const counted = await run(join(outdir, basename(file).replace(/\.ts$/, '.js')))
  passed += counted.passed
  failed += counted.failed
  console.log(`${counted.failed ? 'FAIL' : 'ok  '} ${file}: ${counted.passed} passed, ${counted.failed} failed`)
}
rmSync(outdir, { recursive: true })
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

function find(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(folder, name))
    .sort()
}

/** Runs one bundle; what was registered and did not pass has failed, and so has a process that ends badly. */
function run(bundle) {
  return new Promise((resolve) => {
    let tally
    const child = fork(bundle, { execArgv: ['--enable-source-maps'] })
    child.on('message', (message) => {
      tally = message
    })
    child.on('close', (code, signal) => {
      if (!tally) return resolve({ passed: 0, failed: 1 })
      const missing = tally.registered - tally.passed
      for (const line of tally.failures) console.log(`  ${line}`)
      const broken = missing === 0 && (code !== 0 || signal !== null || tally.registered === 0)
      if (broken) console.log(`  ended with code ${code} ${signal ?? ''} after ${tally.registered} tests`)
      resolve({ passed: tally.passed, failed: missing + (broken ? 1 : 0) })
    })
  })
}
