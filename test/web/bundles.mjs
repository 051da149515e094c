// Bundles programs with the packed tarball, by esbuild and by Vite, and runs them in headless Chromium on its software WebGPU.
//
//   node test/web/bundles.mjs
//
// CHROMIUM names the browser's program if it is at no usual place. dist/ must be built.
import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import sirv from 'sirv'
import * as assert from 'uvu/assert'
import { findChromium } from '../harness/chromium.mjs'

const FLAGS = ['--no-sandbox', '--enable-unsafe-webgpu', '--disable-background-networking', '--no-first-run']
/** Milliseconds that a page may take where other programs run. */
const PATIENCE = 180_000
/** The softmax of the rows [0, 1, 2], [3, 4, 5] and [3, 5, 7], which examples/vite-app shows. */
const ROWS = '0.0900 0.2447 0.6652 0.0900 0.2447 0.6652 0.0159 0.1173 0.8668'

const program = findChromium('test:web')
const work = mkdtempSync(join(tmpdir(), 'paraformer-bundles-'))
const { version, dependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const installed = join(work, 'node_modules/paraformer')
mkdirSync(installed, { recursive: true })
execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', work])
execFileSync('tar', ['-xzf', join(work, `paraformer-${version}.tgz`), '-C', installed, '--strip-components', '1'])
for (const name of Object.keys(dependencies)) {
  mkdirSync(dirname(join(work, 'node_modules', name)), { recursive: true })
  symlinkSync(resolve('node_modules', name), join(work, 'node_modules', name))
}
cpSync('examples/vite-app', join(work, 'vite-app'), { recursive: true })
const site = join(work, 'site')
const tests = []

const bundled = { bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', absWorkingDir: work }
await build({ ...bundled, entryPoints: ['vite-app/main.ts'], outfile: join(site, 'esbuild/main.ts') })
copyFileSync('examples/vite-app/index.html', join(site, 'esbuild/index.html'))
tests.push({ title: 'a few ops, bundled by esbuild', path: 'esbuild/', expected: ROWS })

execFileSync(
  process.execPath,
  [resolve('node_modules/vite/bin/vite.js'), 'build', 'vite-app', '--base', './', '--logLevel', 'warn'],
  {
    cwd: work,
  },
)
cpSync(join(work, 'vite-app/dist'), join(site, 'vite'), { recursive: true })
tests.push({ title: 'the same, bundled by Vite', path: 'vite/', expected: ROWS })

writeFileSync(
  join(work, 'worker.js'),
  `import { requestDevice, tensor } from 'paraformer'
await requestDevice()
postMessage(await tensor([1, 2, 3]).mul(2).sum().item())
`,
)
await build({ ...bundled, conditions: ['worker'], entryPoints: ['worker.js'], outfile: join(site, 'worker/worker.js') })
writeFileSync(
  join(site, 'worker/index.html'),
  `<!doctype html><title>worker</title><p id="answer">computing</p><script type="module">
  const worker = new Worker('./worker.js', { type: 'module' })
  const show = (text) => { document.getElementById('answer').textContent = text }
  worker.onmessage = ({ data }) => show(data)
  worker.onerror = ({ message }) => show(message)
</script>
`,
)
tests.push({ title: 'methods of Tensor, in a worker', path: 'worker/', expected: '12' })

// The page of esbuild asks for its script by the name of the source.
const files = sirv(site, {
  setHeaders: (response, path) => path.endsWith('.ts') && response.setHeader('content-type', 'text/javascript'),
})
const server = createServer((request, response) => files(request, response, () => response.writeHead(404).end()))
await new Promise((listening) => server.listen(0, 'localhost', listening))
const browser = await chromium.launch({ executablePath: program, args: FLAGS })
console.log(`Chromium ${browser.version()}`)
let passed = 0
for (const { title, path, expected } of tests) {
  const page = await browser.newPage()
  try {
    const wrong = []
    page.on('pageerror', (error) => wrong.push(error.message))
    await page.goto(`http://localhost:${server.address().port}/${path}`)
    const computed = () => document.getElementById('answer').textContent !== 'computing'
    await page.waitForFunction(computed, undefined, { timeout: PATIENCE })
    assert.equal(wrong, [])
    assert.is(await page.textContent('#answer'), expected)
    passed++
    console.log(`ok   ${title}`)
  } catch (error) {
    console.log(`FAIL ${title}: ${error.stack ?? error}`)
  }
  await page.close()
}
await browser.close()
server.close()
rmSync(work, { recursive: true })
console.log(`${passed} passed, ${tests.length - passed} failed`)
process.exitCode = passed === tests.length ? 0 : 1
