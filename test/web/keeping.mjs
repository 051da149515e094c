import { rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  fill,
  give,
  inWorker,
  PATIENCE,
  ready,
  reset,
  SMALL,
  status,
  test,
  trouble,
  visit,
  work,
  writeClasses,
} from './harness.mjs'

/** Waits with a clock, since a page that is hidden gets no frames. */
const clock = { polling: 100, timeout: PATIENCE }
const LONG = { ...SMALL, epochs: '50' }
/** Makes the worker find its files late, so that a visitor has time for a mistake. */
const SLOWLY = `
const original = StorageManager.prototype.getDirectory
StorageManager.prototype.getDirectory = async function () {
  await new Promise((resolve) => setTimeout(resolve, 1500))
  return original.call(this)
}`

const isOff = (page, id) =>
  page.locator(`#${id}`).evaluate((node) => node.getAttribute('aria-disabled') === 'true' || node.disabled)

/** Trains some mini-batches, and pauses. @returns the mini-batch */
async function trainSome(page) {
  await page.click('#start')
  await status(page, /^Training: mini-batch [2-9]/)
  await page.click('#start')
  const [, step] = await status(page, /^Paused after mini-batch (\d+)/)
  return Number(step)
}

test('1, 7: nothing can begin or be given while a saved run is opened or a run prepares', async () => {
  const { page, close } = await visit({ prepare: inWorker(SLOWLY) })
  await fill(page, LONG)
  await page.click('#start')
  await status(page, /^Preparing/)
  for (const id of ['start', 'open-files', 'open-folder', 'dataset']) assert.ok(await isOff(page, id), id)
  assert.ok(await page.isDisabled('#settings [name=epochs]'))
  await status(page, /^Training: mini-batch [2-9]/)
  await page.click('#start')
  const [, step] = await status(page, /^Paused after mini-batch (\d+)/)
  await page.reload()
  await status(page, /^(Looking|Opening)/)
  assert.ok(await isOff(page, 'start'))
  await page.locator('#start').dispatchEvent('click')
  await status(page, new RegExp(`^Paused after mini-batch ${step} of 10000`))
  await close()
})

test('2, 3: a second tab computes too, but leaves alone what the first one keeps', async () => {
  const { page, again, close } = await visit()
  await fill(page, LONG)
  const step = await trainSome(page)
  const other = await again()
  await fill(other, { ...SMALL, branches: '3' })
  assert.match(await other.textContent('#notes'), /^Another tab of this page has the run/)
  await other.click('#start')
  await status(other, /^Finished: 200 mini-batches; nothing is kept in this browser/)
  const [file] = await Promise.all([other.waitForEvent('download'), other.click('#save')])
  assert.is(file.suggestedFilename(), 'checkpoint.safetensors')
  await other.click('#reset')
  await status(other, /^No run yet/)
  await page.reload()
  await status(page, new RegExp(`^Paused after mini-batch ${step} of 10000`))
  assert.is(await page.inputValue('#settings [name=branches]'), '2')
  await close()
})

test('8: a reload after a few mini-batches of a run that trains loses seconds at most', async () => {
  const { page, close } = await visit()
  await fill(page, LONG)
  await page.click('#start')
  await status(page, /^Training: mini-batch [2-9]/)
  await page.waitForTimeout(500)
  await page.reload()
  await status(page, /^Paused after mini-batch [1-9]\d* of 10000/)
  await close()
})

test('9: a saved run that cannot be opened says so, waits for its data, and can be removed', async () => {
  const classes = writeClasses(join(work, 'shapes'), ['round', 'square'])
  const { page, close } = await visit()
  const giveClasses = async () => {
    await give(page, '#open-folder', classes)
    await status(page, /^The data is here|^Paused/)
  }
  await ready(page)
  await giveClasses()
  await fill(page, { ...SMALL, patchSize: '4', epochs: '50', batchSize: '4' })
  const step = await trainSome(page)
  const forget = () =>
    page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry('data', { recursive: true }))
  await forget()
  await page.reload()
  assert.match(await trouble(page), /data of your own.*give it here/)
  await status(page, /^The run that is saved here is not open/)
  assert.ok((await isOff(page, 'start')) && !(await isOff(page, 'reset')))
  await giveClasses()
  await status(page, new RegExp(`^Paused after mini-batch ${step} `))
  await forget()
  await page.reload()
  await status(page, /^The run that is saved here is not open/)
  await reset(page)
  await page.reload()
  await ready(page)
  await status(page, /^No run yet/)
  rmSync(classes, { recursive: true })
  await close()
})

test('12: a device that is lost for good says so once, and nothing can be saved that is not there', async () => {
  const once = `
const original = GPU.prototype.requestAdapter
GPU.prototype.requestAdapter = function (...args) { return globalThis.gone ? null : original.apply(this, args) }
GPUQueue.prototype.submit = new Proxy(GPUQueue.prototype.submit, { apply(submit, queue, args) {
  if (globalThis.losing) { globalThis.gone = true; globalThis.losing.destroy() }
  return Reflect.apply(submit, queue, args)
} })
const request = GPUAdapter.prototype.requestDevice
GPUAdapter.prototype.requestDevice = async function (...args) {
  const device = await request.apply(this, args)
  globalThis.made = device
  return device
}
addEventListener('message', ({ data }) => { if (data.name === 'run') globalThis.losing = globalThis.made })`
  const { page, close } = await visit({ prepare: inWorker(once) })
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^The run has failed/)
  assert.match(await trouble(page), /no other one could take its place\. Nothing of the run was saved yet; press Reset/)
  assert.not.match(await page.textContent('#notes'), /goes on/)
  assert.ok(await isOff(page, 'save'))
  await close()
})

test('13: a run whose device is lost while it waits gets another one, and answers in Try', async () => {
  const { page, close } = await visit()
  await fill(page, LONG)
  const step = await trainSome(page)
  await page.click('#tab-try')
  await page.selectOption('#source', 'run')
  await page.waitForFunction(() => /^Answers: the run, 2 branches/.test(document.getElementById('model-name').textContent))
  await page.evaluate(() => globalThis.paraformer.call('loseDevice'))
  await page.click('[aria-label="add branch 1 later"]')
  await page.waitForFunction(() => /^2: /.test(document.querySelector('#prefixes span').textContent), undefined, clock)
  assert.ok(await page.isHidden('#trouble'))
  await page.click('#tab-train')
  assert.match(await page.textContent('#notes'), new RegExp(`the run waits at mini-batch ${step} on a new one`))
  await page.click('#step')
  await status(page, new RegExp(`^Paused after mini-batch ${step + 1} `))
  await close()
})

test('27 to 31: the end of a run stays its end, Reset asks, and leaves neither title nor notes', async () => {
  const { page, close } = await visit()
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Finished: 200 mini-batches\. Reset begins another run/)
  await page.reload()
  await status(page, /^Finished: 200 mini-batches/)
  assert.ok(await isOff(page, 'start'))
  await page.click('#reset')
  assert.match(await page.textContent('#sure-question'), /200 mini-batches/)
  await page.click('#sure-no')
  await status(page, /^Finished/)
  await page.evaluate(() => globalThis.paraformer.call('loseDevice'))
  await page.waitForSelector('#notes li')
  await page.click('#reset')
  await page.click('#sure-yes')
  await status(page, /^No run yet/)
  assert.is(await page.title(), 'ParaFormer on WebGPU')
  assert.is(await page.locator('#notes li').count(), 0)
  assert.ok(await page.isHidden('#results'))
  await close()
})
