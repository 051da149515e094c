import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { fill, give, ready, reset, SMALL, status, test, visit, work, writeClasses } from './harness.mjs'

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
const focused = (page) => page.evaluate(() => document.activeElement.id)

test('19, 22: the keyboard stays on the button that it pressed, and a screen reader hears what changes, not every number', async () => {
  const script = () => {
    globalThis.heard = []
    addEventListener('DOMContentLoaded', () => {
      const live = document.querySelectorAll('[role=status], [role=alert], [aria-live], output')
      for (const place of live)
        new MutationObserver(() => globalThis.heard.push(place.textContent)).observe(place, {
          childList: true,
          characterData: true,
          subtree: true,
        })
    })
  }
  const { page, close } = await visit({ script })
  await fill(page, SMALL)
  await page.focus('#start')
  await page.keyboard.press('Enter')
  await status(page, /^Finished: 200/)
  assert.is(await focused(page), 'start')
  await page.waitForFunction(() => globalThis.heard.some((text) => /^Finished/.test(text)))
  const heard = await page.evaluate(() => globalThis.heard)
  assert.ok(heard.length <= 12, `${heard.length} sentences: ${heard.join(' | ')}`)
  await page.focus('#reset')
  await page.keyboard.press('Enter')
  await page.focus('#sure-yes')
  await page.keyboard.press('Enter')
  await status(page, /^No run yet/)
  assert.is(await focused(page), 'reset')
  await page.click('#tab-try')
  await page.click('.branch:nth-child(2) button[aria-pressed]')
  await page.waitForFunction(() => globalThis.heard.some((text) => /branch 2 is off/.test(text)))
  await page.waitForFunction(() => globalThis.heard.some((text) => /The answer is \d/.test(text)))
  await close()
})

test('20: a finger scrolls over the cards, and finds buttons large enough', async () => {
  const { page, close } = await visit({ tab: 'try', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  const card = page.locator('.branch canvas').first()
  assert.is(await card.evaluate((node) => getComputedStyle(node.parentElement).touchAction), 'auto')
  await card.scrollIntoViewIfNeeded()
  const { x, y, width, height } = await card.boundingBox()
  const session = await page.context().newCDPSession(page)
  const from = await page.evaluate(() => scrollY)
  const touch = (type, by) =>
    session.send('Input.dispatchTouchEvent', {
      type,
      touchPoints: type === 'touchEnd' ? [] : [{ x: x + width / 2, y: y + height / 2 - by }],
    })
  await touch('touchStart', 0)
  for (let by = 20; by <= 200; by += 20) await touch('touchMove', by)
  await touch('touchEnd')
  await page.waitForFunction((before) => scrollY > before, from)
  const names = await page.locator('.branch button[aria-pressed]').allTextContents()
  assert.equal(names, ['branch 1', 'branch 2', 'branch 3', 'branch 4'])
  for (const button of await page.locator('.branch button').all()) {
    const box = await button.boundingBox()
    assert.ok(box.width >= 44 && box.height >= 44, `${box.width} x ${box.height}`)
  }
  assert.is(await overflow(page), 0)
  await close()
})

test('21, 34, 39: long names of classes, eight branches, and names of limits fit into 390 pixels', async () => {
  const long = (letter) => letter.repeat(70)
  const path = writeClasses(join(work, `data${long('d')}`), [long('a'), long('b')])
  const { page, close } = await visit({ viewport: { width: 390, height: 844 } })
  await ready(page)
  await give(page, '#open-folder', path)
  await status(page, /^The data is here/)
  await fill(page, { ...SMALL, branches: '8', patchSize: '4', batchSize: '16' })
  await page.click('#start')
  await status(page, /^Finished: 1 mini-batch\./)
  assert.is(await overflow(page), 0, 'Train')
  await page.click('#tab-try')
  await page.selectOption('#source', 'run')
  await page.waitForFunction(() => document.querySelectorAll('#prefixes meter').length === 8)
  assert.is(await overflow(page), 0, 'Try')
  for (const meter of await page.locator('#answers meter, #prefixes meter').all())
    assert.ok((await meter.boundingBox()).width >= 60, 'a bar without room')
  await page.click('#tab-device')
  await page.waitForSelector('#device-table table')
  assert.is(await overflow(page), 0, 'Device')
  const lines = await page.locator('td.number').evaluateAll((cells) => cells.map((cell) => cell.getClientRects().length))
  assert.ok(lines.length > 5 && lines.every((count) => count === 1))
  await close()
})

test('36, 38: the settings that matter stand first with what they mean, and patches fit the images', async () => {
  const { page, close } = await visit()
  await ready(page)
  const shown = await page
    .locator('#settings label')
    .evaluateAll((labels) => labels.filter((label) => label.checkVisibility()).length)
  assert.is(shown, 3)
  assert.match(await page.textContent('#hint-scheme'), /A prefix is the first few branches alone/)
  await page.click('#more-settings summary')
  const values = (name) =>
    page.locator(`#settings [name=${name}] option`).evaluateAll((options) => options.map(({ value }) => Number(value)))
  // 16: every size that is offered divides the images.
  for (const size of await values('patchSize')) assert.is(28 % size, 0)
  assert.equal(await values('dim'), [16, 32, 64, 128])
  assert.ok(await page.isDisabled('#settings [name=imageSize]'))
  const disabled = await page.locator('#settings [name=imageSize]').evaluate((node) => getComputedStyle(node).borderStyle)
  assert.is(disabled, 'dashed')
  await give(page, '#open-folder', writeClasses(join(work, 'shapes'), ['round', 'square']))
  await status(page, /^The data is here/)
  await fill(page, { imageSize: '30' })
  for (const size of await values('patchSize')) assert.is(30 % size, 0)
  await fill(page, { ...SMALL, imageSize: '30', patchSize: '15', batchSize: '16' })
  await page.click('#start')
  await status(page, /^Finished: 1 mini-batch\./)
  await reset(page)
  await close()
})
