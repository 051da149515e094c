import * as assert from 'uvu/assert'
import { fill, inWorker, SMALL, status, test, trouble, visit } from './harness.mjs'

test('a browser without WebGPU is told which have it, and nothing hangs', async () => {
  const { page, close } = await visit({ withoutWebGpu: true })
  assert.match(await page.textContent('#trouble'), /no WebGPU.*Chrome.*Safari.*Firefox/)
  assert.is(await page.getAttribute('#start', 'aria-disabled'), 'true')
  await close()
})

test('a browser without an adapter is told to turn hardware acceleration on', async () => {
  const { page, close } = await visit({ prepare: inWorker('GPU.prototype.requestAdapter = async () => null') })
  await page.waitForSelector('#trouble:not([hidden])')
  assert.match(await page.textContent('#trouble'), /no WebGPU adapter.*turn hardware acceleration on/)
  assert.is(await page.getAttribute('#start', 'aria-disabled'), 'true')
  await close()
})

test('out of memory says how much was asked, and the button takes half the mini-batch until it fits', async () => {
  const limit = 'Object.defineProperty(GPUSupportedLimits.prototype, "maxBufferSize", { get: () => 1 << 20 })'
  const { page, close } = await visit({ prepare: inWorker(limit) })
  await fill(page, { ...SMALL, batchSize: '512' })
  await page.click('#start')
  await page.waitForSelector('#trouble:not([hidden])')
  assert.match(await page.textContent('#trouble'), /^Out of memory: .*\d+ bytes .*larger than the 1048576 bytes/)
  assert.is(await page.textContent('#trouble button'), 'Begin anew with 256 images a mini-batch')
  for (let taken = 256; taken >= 1; taken /= 2) {
    await page.click('#trouble button')
    await page.waitForFunction(
      () => !document.getElementById('trouble').hidden || /^Finished/.test(document.getElementById('status').textContent),
    )
    if (await page.isHidden('#trouble')) break
    assert.match(await page.textContent('#trouble button'), new RegExp(`with ${taken / 2} images`))
  }
  await status(page, /^Finished/)
  assert.ok(Number(await page.inputValue('#settings [name=batchSize]')) < 512)
  await close()
})

test('where the browser refuses storage, training goes on and a note says that nothing is kept', async () => {
  const refuse = 'StorageManager.prototype.getDirectory = async () => { throw new DOMException("refused", "SecurityError") }'
  const { page, close } = await visit({ prepare: inWorker(refuse) })
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Finished: 200/)
  assert.match(await page.textContent('#notes'), /^this browser keeps nothing of this page \(refused\)/)
  assert.match(await page.textContent('#status'), /nothing is kept in this browser/)
  await close()
})

test('where the storage is full, training goes on, a note says so, and the checkpoint can still be saved', async () => {
  const full = `FileSystemWritableFileStream.prototype.write = async () => { throw new DOMException("full", "QuotaExceededError") }`
  const { page, close } = await visit({ prepare: inWorker(full) })
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Finished: 200/)
  assert.match(await page.textContent('#notes'), /the storage of this page is full; free some/)
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('#save')])
  assert.is(file.suggestedFilename(), 'checkpoint.safetensors')
  await close()
})

test('a hidden tab goes on training, its title tells how far, and it is drawn when it is shown again', async () => {
  // A hidden tab gets no frames.
  const script = () => {
    const frames = []
    globalThis.show = () => {
      globalThis.requestAnimationFrame = original
      for (const frame of frames) original(frame)
    }
    const original = globalThis.requestAnimationFrame.bind(globalThis)
    globalThis.requestAnimationFrame = (frame) => frames.push(frame)
  }
  const { page, close } = await visit({ script })
  await fill(page, SMALL)
  await page.click('#start')
  const polled = { polling: 100 }
  await page.waitForFunction(() => /^[1-9]\d? % trained/.test(document.title), undefined, polled)
  await page.waitForFunction(() => /^100 % trained/.test(document.title), undefined, polled)
  assert.is(await page.locator('#gains .gain').count(), 0)
  await page.evaluate(() => globalThis.show())
  // Waits of Playwright may count frames, which this page got none of.
  await page.waitForFunction(() => document.querySelectorAll('#gains .gain').length === 2, undefined, polled)
  const evaluated = () => /test images500.*accuracy of all 2 branches/.test(document.getElementById('numbers').textContent)
  await page.waitForFunction(evaluated, undefined, polled)
  await close()
})

test('11: a page whose scripts do not load says so', async () => {
  const expected = /MIME type|Failed to load|404|dynamically imported/
  const broken = (pattern, answer) => ({
    expected,
    prepare: (context) => context.route(pattern, (route) => route.fulfill(answer)),
  })
  const missing = { status: 404, contentType: 'text/plain', body: 'not found' }
  for (const [pattern, answer] of [
    ['**/main.js', { contentType: 'text/plain', body: 'nothing' }],
    ['**/chunks/*', missing],
  ]) {
    const { page, close } = await visit(broken(pattern, answer))
    await page.waitForSelector('#not-loaded')
    assert.match(await page.textContent('#not-loaded'), /its scripts did not load/)
    await close()
  }
  const { page, close } = await visit(broken('**/worker.js', missing))
  assert.match(await trouble(page), /a part of this page did not load \(worker\.js\)/)
  assert.not.match(await page.textContent('#status'), /WebGPU/)
  assert.ok(await page.isHidden('#not-loaded'))
  await close()
})

test('35: a browser without storage trains, and says in plain words that nothing is kept', async () => {
  const none = 'Object.defineProperty(WorkerNavigator.prototype, "storage", { get: () => undefined })'
  const { page, close } = await visit({ prepare: inWorker(none) })
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Finished: 200 mini-batches; nothing is kept/)
  assert.match(
    await page.textContent('#notes'),
    /^this browser keeps nothing of this page \(a page has no storage in this browser\)$/,
  )
  await close()
})
