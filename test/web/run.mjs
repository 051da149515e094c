// Drives the page of `paraformer web` in headless Chromium on its software WebGPU, and counts the tests.
//
//   node test/web/run.mjs [PART OF A TITLE]
//
// CHROMIUM names the browser's program if it is at no usual place. dist/ must be built.
import { execFile, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import * as assert from 'uvu/assert'
import { findChromium } from '../harness/chromium.mjs'

const FLAGS = ['--no-sandbox', '--enable-unsafe-webgpu', '--disable-background-networking', '--no-first-run']
const CLI = 'dist/node/cli.js'
/** Milliseconds that a wait may take where other programs run. */
const PATIENCE = 180_000
/** Settings of a run of 93 mini-batches that software trains in seconds. */
const SMALL = { branches: '2', dim: '16', patchSize: '14', epochs: '1', lr: '0.01', seed: '5' }

const program = findChromium('test:web')
const work = mkdtempSync(join(tmpdir(), 'paraformer-web-'))
const server = spawn(process.execPath, [CLI, 'web', '--port', '0'])
const url = await new Promise((resolve) => server.stdout.once('data', (text) => resolve(String(text).trim())))
const browser = await chromium.launch({ executablePath: program, args: FLAGS })
const tests = []
const test = (title, body) => tests.push({ title, body })

/** Opens the page in a storage of its own. Fails the test at its end if the page had an error or asked for anything from elsewhere. */
async function visit({ withoutWebGpu = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  const wrong = []
  page.on('pageerror', (error) => wrong.push(error.message))
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()))
  page.on(
    'request',
    (request) =>
      new URL(request.url()).origin !== new URL(url).origin &&
      !/^(blob|data):/.test(request.url()) &&
      wrong.push(request.url()),
  )
  if (withoutWebGpu) await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined }))
  await page.goto(url)
  return {
    page,
    close: async () => {
      assert.equal(wrong, [], 'errors of the page')
      await context.close()
    },
  }
}

async function fill(page, settings) {
  for (const [name, value] of Object.entries(settings)) {
    const field = page.locator(`#settings [name=${name}]`)
    if ((await field.evaluate((node) => node.tagName)) === 'SELECT') await field.selectOption(value)
    else await field.fill(value)
  }
}

/** Waits until the status matches. @returns the match */
async function status(page, pattern) {
  await page.waitForFunction((source) => new RegExp(source).test(document.getElementById('status').textContent), pattern.source)
  return pattern.exec(await page.textContent('#status'))
}

/** Saves the checkpoint of the page's run. @returns its path */
async function download(page, name) {
  const path = join(work, name)
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('#save')])
  await file.saveAs(path)
  return path
}

/** What the tensors of a checkpoint are, as bytes; its times differ from run to run. */
function tensorsOf(path) {
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const { __metadata__: metadata, ...header } = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const { position, history } = JSON.parse(metadata.training)
  return JSON.stringify([header, position, history]) + bytes.subarray(8 + length).toString('base64')
}

let whole
test('a run trains to the end, its loss falls, and Node evaluates its checkpoint to the same accuracy', async () => {
  const { page, close } = await visit()
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Finished: 93 mini-batches/)
  whole = await download(page, 'whole.safetensors')
  const shown = await page.textContent('#numbers')
  const { history, settings } = JSON.parse(JSON.parse(headerOf(whole)).__metadata__.training)
  const [{ losses, accuracies, images }] = history
  assert.ok(losses[1] < 1.5 && images === 500, `losses ${losses}`)
  assert.ok(shown.includes(accuracies.map((share) => `${(100 * share).toFixed(1)} %`).join(', ')), shown)
  const data = join(work, 'mnist')
  await promisify(execFile)('cp', ['-r', 'dist/web/data/mnist', data])
  const args = [
    CLI,
    'eval',
    '--checkpoint',
    whole,
    '--data-dir',
    data,
    '--images',
    String(settings.testImages),
    '--json',
    '--adapter',
    'swiftshader',
  ]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const { prefixes } = JSON.parse(stdout)
  for (const [k, { accuracy, loss }] of prefixes.entries()) {
    assert.is(accuracy, accuracies[k], `accuracy of prefix ${k + 1}`)
    assert.ok(Math.abs(loss - losses[k]) < 1e-5, `loss ${loss}, ${losses[k]}`)
  }
  await close()
})

test('a run that is paused, stepped and reloaded ends with the same bits', async () => {
  const { page, close } = await visit()
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Training: mini-batch [2-9]\d? of 93/)
  await page.click('#start')
  const [, paused] = await status(page, /^Paused after mini-batch (\d+) of 93/)
  await page.click('#step')
  await page.waitForFunction(
    (step) => document.getElementById('status').textContent.startsWith(`Paused after mini-batch ${step} `),
    Number(paused) + 1,
  )
  await page.reload()
  await status(page, new RegExp(`^Paused after mini-batch ${Number(paused) + 1} of 93`))
  assert.is(await page.inputValue('#settings [name=seed]'), SMALL.seed)
  await page.click('#start')
  await status(page, /^Finished: 93/)
  assert.is(tensorsOf(await download(page, 'reloaded.safetensors')), tensorsOf(whole))
  await close()
})

test('a run whose device is lost goes on by itself, and ends with the same bits', async () => {
  const { page, close } = await visit()
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Training: mini-batch (5[5-9]|[67]\d) of 93/)
  await page.evaluate(() => globalThis.paraformer.call('loseDevice'))
  await status(page, /^Finished: 93/)
  assert.match(await page.textContent('#notes'), /training goes on from mini-batch 50 on a new one/)
  assert.is(tensorsOf(await download(page, 'lost.safetensors')), tensorsOf(whole))
  await close()
})

test('the model of the page reads a digit; branches switch, move and exit early', async () => {
  const { page, close } = await visit()
  await page.click('#tab-try')
  await page.waitForSelector('#answers .best')
  assert.match(await page.textContent('#model-name'), /the model of this page, 4 branches/)
  assert.is(await page.locator('#answers span.best').first().textContent(), '7')
  assert.is(await page.locator('#prefixes meter').count(), 4)
  assert.match(await page.textContent('#exit'), /after \d of 4, it is 7/)
  await page.click('.branch:nth-child(2) button[aria-pressed]')
  await page.waitForFunction(() => document.querySelectorAll('#prefixes meter').length === 3)
  assert.match(await page.locator('#prefixes span').first().textContent(), /^1: /)
  // The first move changes places with the branch that is off.
  for (let i = 0; i < 2; i++) await page.click('[aria-label="add branch 1 later"]')
  await page.waitForFunction(() => !/^1: /.test(document.querySelector('#prefixes span').textContent))
  await page.click('text=Clear')
  const box = await page.locator('#draw').boundingBox()
  const at = (x, y) => [box.x + x * box.width, box.y + y * box.height]
  await page.mouse.move(...at(0.5, 0.2))
  await page.mouse.down()
  await page.mouse.move(...at(0.5, 0.8), { steps: 8 })
  await page.mouse.up()
  await page.waitForFunction(() => document.querySelector('#answers span.best')?.textContent === '1')
  await close()
})

test('a checkpoint that Node has trained answers in the page', async () => {
  const out = join(work, 'node')
  const flags = [
    '--dim',
    '16',
    '--heads',
    '1',
    '--mlp-dim',
    '32',
    '--patch-size',
    '14',
    '--branches',
    '3',
    '--train-images',
    '640',
    '--test-images',
    '50',
  ]
  await promisify(execFile)(process.execPath, [CLI, 'train', ...flags, '--out', out])
  const { page, close } = await visit()
  await page.click('#tab-try')
  await page.waitForSelector('#answers .best')
  await page.setInputFiles('#open-model', join(out, 'model.safetensors'))
  await page.waitForFunction(() => /model.safetensors, 3 branches/.test(document.getElementById('model-name').textContent))
  await page.waitForFunction(() => document.querySelectorAll('#prefixes meter').length === 3)
  await close()
})

test('a broken file is named, and the model before it stays', async () => {
  const { page, close } = await visit()
  await page.click('#tab-try')
  await page.waitForSelector('#answers .best')
  const broken = join(work, 'broken.safetensors')
  writeFileSync(broken, readFileSync(whole).subarray(0, 1000))
  await page.setInputFiles('#open-model', broken)
  await page.waitForSelector('#trouble:not([hidden])')
  assert.match(await page.textContent('#trouble'), /^broken\.safetensors: /)
  assert.match(await page.textContent('#model-name'), /the model of this page/)
  await page.click('.branch:nth-child(1) button[aria-pressed]')
  await page.waitForFunction(() => document.querySelectorAll('#prefixes meter').length === 3)
  await close()
})

test('a browser without WebGPU is told which have it, and nothing hangs', async () => {
  const { page, close } = await visit({ withoutWebGpu: true })
  assert.match(await page.textContent('#trouble'), /no WebGPU.*Chrome.*Safari.*Firefox/)
  assert.ok(await page.isDisabled('#start'))
  await close()
})

test('the example of a page learns its curve and draws it', async () => {
  const folder = join(work, 'page')
  cpSync('examples/page', folder, { recursive: true })
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(resolve('.'), join(folder, 'node_modules', 'paraformer'))
  const [, args] = /npx esbuild (main\.js .*?) &&/.exec(readFileSync(join(folder, 'main.js'), 'utf8'))
  await promisify(execFile)(resolve('node_modules/.bin/esbuild'), args.split(' '), { cwd: folder })
  const host = createServer(async (request, response) => {
    const name = request.url === '/' ? 'index.html' : request.url.slice(1)
    const types = { html: 'text/html', js: 'text/javascript' }
    const bytes = await readFile(join(folder, name)).catch(() => undefined)
    response.writeHead(bytes ? 200 : 404, { 'content-type': types[name.split('.').at(-1)] ?? 'text/plain' }).end(bytes)
  })
  await new Promise((done) => host.listen(0, 'localhost', done))
  const page = await browser.newPage()
  const wrong = []
  page.on('pageerror', (error) => wrong.push(error.message))
  await page.goto(`http://localhost:${host.address().port}/`)
  await page.waitForFunction(() => /^step 500 /.test(document.querySelector('p').textContent), undefined, { timeout: PATIENCE })
  const [, error] = /^step 500 on \S.*: mean square error ([\d.]+)$/.exec(await page.textContent('p'))
  assert.ok(Number(error) < 0.01, error)
  const reds = await page.evaluate(() => {
    const canvas = document.querySelector('canvas')
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    return data.filter((red, i) => i % 4 === 0 && red > 180 && data[i + 1] < 120 && data[i + 3] > 100).length
  })
  assert.ok(reds > 300, `${reds} red pixels`)
  assert.equal(wrong, [])
  await page.close()
  host.close()
})

function headerOf(path) {
  const bytes = readFileSync(path)
  return bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString()
}

let passed = 0
const chosen = tests.filter(({ title }, i) => i === 0 || title.includes(process.argv[2] ?? ''))
console.log(`Chromium ${browser.version()}`)
for (const { title, body } of chosen) {
  const begin = performance.now()
  const error = await body().then(
    () => undefined,
    (reason) => reason,
  )
  if (!error) passed++
  console.log(`${error ? 'FAIL' : 'ok  '} ${title}: ${Math.round((performance.now() - begin) / 1000)} s`)
  if (error) console.log(error.stack ?? error)
}
await browser.close()
server.kill('SIGINT')
rmSync(work, { recursive: true })
console.log(`${passed} passed, ${chosen.length - passed} failed`)
process.exitCode = passed === chosen.length ? 0 : 1
