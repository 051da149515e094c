// The tests of the page share the server, the browser, and ways to use the page.
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { deflateSync } from 'node:zlib'
import { chromium } from 'playwright-core'
import * as assert from 'uvu/assert'
import { findChromium } from '../harness/chromium.mjs'

const FLAGS = ['--no-sandbox', '--enable-unsafe-webgpu', '--disable-background-networking', '--no-first-run']
export const CLI = 'dist/node/cli.js'
/** Milliseconds that a wait may take where other programs run. */
export const PATIENCE = Number(process.env.PATIENCE ?? 180_000)
/** Settings of a run of 200 mini-batches that software trains in seconds. */
export const SMALL = { branches: '2', dim: '16', patchSize: '14', epochs: '1', lr: '0.01', seed: '5', batchSize: '30' }

const program = findChromium('test:web')
/** A folder for files, which is removed at the end. */
export const work = mkdtempSync(join(tmpdir(), 'paraformer-web-'))
const server = spawn(process.execPath, [CLI, 'web', '--port', '0'])
export const url = await new Promise((resolve) => server.stdout.once('data', (text) => resolve(String(text).trim())))
export const browser = await chromium.launch({ executablePath: program, args: FLAGS })

/** Ends browser and server. */
export async function close() {
  await browser.close()
  server.kill('SIGINT')
  rmSync(work, { recursive: true })
}

export const tests = []
/** Adds a test. */
export const test = (title, body) => tests.push({ title, body })

/**
 * Opens the page in a storage of its own. Fails the test at its end if the page had an error or asked for anything from elsewhere.
 * @param options.tab the tab that the address names; an empty name is the address of the page alone
 * @param options.expected a pattern of errors that the test brings about
 */
export async function visit({ withoutWebGpu = false, script, prepare, tab = 'train', expected, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options })
  await prepare?.(context)
  const wrong = []
  const watch = (page) => {
    page.setDefaultTimeout(PATIENCE)
    page.on('pageerror', (error) => wrong.push(error.message))
    page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()))
    page.on(
      'request',
      (request) =>
        new URL(request.url()).origin !== new URL(url).origin &&
        !/^(blob|data):/.test(request.url()) &&
        wrong.push(request.url()),
    )
    return page
  }
  const at = tab === '' ? url : `${url}#/${tab}`
  const page = watch(await context.newPage())
  if (withoutWebGpu) await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined }))
  if (script) await page.addInitScript(script)
  await page.goto(at)
  return {
    page,
    /** Opens the page once more, in another tab of the same browser. */
    again: async () => {
      const other = watch(await context.newPage())
      await other.goto(at)
      return other
    },
    close: async () => {
      assert.equal(
        wrong.filter((message) => !expected?.test(message)),
        [],
        'errors of the page',
      )
      await context.close()
    },
  }
}

/** Runs code in the worker of the page before its own. */
export const inWorker = (code) => (context) =>
  context.route('**/worker.js', async (route) => {
    const response = await route.fetch()
    await route.fulfill({ response, body: `${code}\n${await response.text()}` })
  })

/** Writes a folder of images for each class: one-coloured squares of 12 pixels. @returns its path */
export function writeClasses(path, names) {
  for (const [c, name] of names.entries()) {
    mkdirSync(join(path, name), { recursive: true })
    for (let i = 0; i < 10; i++) writeFileSync(join(path, name, `${i}.png`), pngOf(12, 40 + 150 * (c % 2) + i))
  }
  return path
}

/** Returns a gray PNG of one colour. */
export function pngOf(side, gray) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const out = Buffer.alloc(body.length + 8)
    out.writeUInt32BE(data.length)
    body.copy(out, 4)
    out.writeUInt32BE(crc32(body), body.length + 4)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(side, 0)
  header.writeUInt32BE(side, 4)
  header.writeUInt8(8, 8)
  const rows = Buffer.alloc(side * (side + 1), gray)
  for (let y = 0; y < side; y++) rows[y * (side + 1)] = 0
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))])
}

function crc32(bytes) {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

/** Fills in settings of a run. */
export async function fill(page, settings) {
  await ready(page)
  await page.evaluate(() => {
    document.getElementById('more-settings').open = true
  })
  for (const [name, value] of Object.entries(settings)) {
    const field = page.locator(`#settings [name=${name}]`)
    if ((await field.evaluate((node) => node.tagName)) === 'SELECT') await field.selectOption(value)
    else await field.fill(value)
  }
}

/** Waits until the status matches. @returns the match */
export async function status(page, pattern) {
  await page.waitForFunction((source) => new RegExp(source).test(document.getElementById('status').textContent), pattern.source)
  return pattern.exec(await page.textContent('#status'))
}

/** Waits until the tab Train knows what an earlier visit saved. */
export async function ready(page) {
  await page.waitForSelector('#start:not([aria-disabled=true])')
}

/** Gives files to a button, when it takes some. */
export async function give(page, selector, files) {
  await page.waitForSelector(`${selector}:not(:disabled)`, { state: 'attached' })
  await page.setInputFiles(selector, files)
}

/** Asks axe-core for what excludes somebody, and that nothing is wider than the page, which must have been opened with `bypassCSP`. */
export async function forEveryone(page, title) {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run())
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
  const lines = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
  assert.equal(lines, [], `${title}: what axe-core finds`)
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.is(overflow, 0, `${title}: pixels that are too wide`)
}

/** Ends the run, whatever is lost. */
export async function reset(page) {
  await page.click('#reset')
  const asked = page.locator('#sure-yes')
  if (await asked.isVisible()) await asked.click()
  await status(page, /^No run yet/)
}

/** The trouble that is shown. */
export async function trouble(page) {
  await page.waitForSelector('#trouble:not([hidden])')
  return page.textContent('#trouble')
}

/** Drops files and folders of this machine on an element, as a visitor does. */
export async function drop(page, selector, ...files) {
  const { x, y, width } = await page.locator(selector).boundingBox()
  const session = await page.context().newCDPSession(page)
  const data = { items: [], files: files.map((file) => resolve(file)), dragOperationsMask: 1 }
  for (const type of ['dragEnter', 'dragOver', 'drop'])
    await session.send('Input.dispatchDragEvent', { type, x: x + width / 2, y: y + 10, data })
  await session.detach()
}

/** Saves the checkpoint of the page's run. @returns its path */
export async function download(page, name) {
  const path = join(work, name)
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('#save')])
  await file.saveAs(path)
  return path
}

/** Runs the command line. @returns what it prints */
export async function cli(...args) {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, ...args, '--adapter', 'swiftshader'])
  return stdout
}

/** Returns the metadata of a safetensors file. */
export function metadataOf(path) {
  const bytes = readFileSync(path)
  return JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString()).__metadata__
}

/** Returns the bytes of a checkpoint without its times, which differ from run to run. */
export function tensorsOf(path) {
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const { __metadata__: metadata, ...header } = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const { position, history } = JSON.parse(metadata.training)
  return JSON.stringify([header, position, history]) + bytes.subarray(8 + length).toString('base64')
}

let whole
/** Trains the whole run of `SMALL` once. @returns the path of its checkpoint, and the numbers that the page shows */
export function wholeRun() {
  whole ??= (async () => {
    const { page, close } = await visit()
    await fill(page, SMALL)
    await page.click('#start')
    await status(page, /^Finished: 200 mini-batches/)
    const path = await download(page, 'whole.safetensors')
    const shown = await page.textContent('#numbers')
    await close()
    return { path, shown }
  })()
  return whole
}
