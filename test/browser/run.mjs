// Runs test files in headless Chromium on Chromium's own WebGPU, each in a page of its own, and counts the tests.
//
//   node test/browser/run.mjs            all suites of the engine, kernels, ops and models
//   node test/browser/run.mjs FILE...    these files
//
// CHROMIUM names the browser's program if it is at no usual place.
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join, normalize, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { findChromium } from '../harness/chromium.mjs'

/** Folders of tests that run in browsers, except for files that import Node's modules. */
const LAYERS = ['engine', 'kernels', 'ops', 'model']
/** Imports of files that only Node runs. */
const OF_NODE = /from '(node:|\.\/platformRoles\.ts')/
/** Minutes that a page may take. */
const LIMIT = 10

const FLAGS = [
  '--enable-unsafe-webgpu',
  // Tests need no network, sync or updates.
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

const program = findChromium('test:browser')

const named = process.argv.slice(2)
const files = named.length > 0 ? named : LAYERS.flatMap((layer) => find(`test/${layer}`))
const outdir = `.build/browser-${process.pid}`
let passed = 0
let failed = 0
try {
  await build({
    entryPoints: files.map((file) => ({ in: file, out: file.replace(/\.ts$/, '') })),
    outdir,
    bundle: true,
    splitting: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    loader: { '.wgsl': 'text' },
    sourcemap: 'inline',
    logLevel: 'warning',
  })
  const server = await serve()
  const browser = await chromium.launch({ executablePath: program, args: FLAGS })
  console.log(`Chromium ${browser.version()}`)
  try {
    for (const file of files) {
      const result = await run(browser, server.address().port, file)
      passed += result.passed
      failed += result.failed
      console.log(`${result.failed ? 'FAIL' : 'ok  '} ${file}: ${result.passed} passed, ${result.failed} failed`)
      for (const line of result.lines) console.log(`  ${line}`)
    }
  } finally {
    await browser.close()
  }
} catch (error) {
  failed++
  console.log(`FAIL ${String(error).split('\n')[0]}`)
}
rmSync(outdir, { recursive: true, force: true })
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

function find(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.test.ts') && !name.endsWith('.slow.test.ts'))
    .map((name) => join(folder, name))
    .filter((file) => !OF_NODE.test(readFileSync(file, 'utf8')))
    .sort()
}

/** Serves the bundles and the golden values to this machine only. WebGPU needs a secure context, which localhost is. */
function serve() {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname)).replace(/^[/\\]+/, '')
    if (path === '')
      return response.setHeader('content-type', 'text/html').end('<!doctype html><title>ParaFormer tests</title>')
    const file = path.endsWith('.js') ? join(outdir, path) : path.startsWith(join('test', 'golden') + sep) ? path : undefined
    const bytes = file && (await readFile(file).catch(() => undefined))
    if (!bytes) return response.writeHead(404).end()
    response.setHeader('content-type', file.endsWith('.js') ? 'text/javascript' : 'application/octet-stream').end(bytes)
  })
  return new Promise((resolve) => server.listen(0, 'localhost', () => resolve(server.unref())))
}

/** Runs one file in a page. A test that is registered and does not pass has failed, and so has a page that crashes or hangs. */
async function run(browser, port, file) {
  const page = await browser.newPage()
  const lines = []
  const crashed = new Promise((resolve) => page.once('crash', () => resolve('the page crashed')))
  const late = sleep(LIMIT * 60_000, `not done after ${LIMIT} minutes`, { ref: false })
  await page.goto(`http://localhost:${port}/`)
  const done = page
    .evaluate(
      async (url) => {
        await import(url)
        const ended = () => globalThis.tally.passed + globalThis.tally.failed === globalThis.tally.registered
        while (!ended()) await new Promise((resolve) => setTimeout(resolve, 50))
      },
      `/${file.replace(/\.ts$/, '.js')}`,
    )
    .catch((error) => error.message)
  const broken = await Promise.race([done, crashed, late])
  if (broken) lines.push(broken)
  // A page that hangs never answers.
  const tally = await Promise.race([
    page.evaluate(() => globalThis.tally).catch(() => undefined),
    crashed.then(() => undefined),
    sleep(5000, undefined, { ref: false }),
  ])
  await page.close()
  const { registered = 0, passed: good = 0, failures = [] } = tally ?? {}
  if (registered === 0 && !broken) lines.push('no test was registered')
  const missing = registered - good
  return { passed: good, failed: missing === 0 && (broken || registered === 0) ? 1 : missing, lines: [...failures, ...lines] }
}
