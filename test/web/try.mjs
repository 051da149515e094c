import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cli, test, visit, wholeRun, work } from './harness.mjs'

/** The answer that the page shows before anything is loaded. */
const EXAMPLE = 'web/model/exampleAnswer.json'

test('the picture is there at first, without what computes, and says what the model answers', async () => {
  const loaded = []
  const { page, close } = await visit({
    tab: '',
    prepare: async (context) => context.on('request', (request) => loaded.push(request.url())),
  })
  if (!process.env.UPDATE_EXAMPLE) {
    assert.match(await page.textContent('header'), /side by side.*added up/)
    assert.is(await page.getAttribute('header a >> nth=0', 'href'), 'https://arxiv.org/abs/2510.15425')
    assert.is(await page.locator('#answers .best').first().textContent(), '7')
    assert.is(await page.locator('#prefixes meter').count(), 4)
    assert.is(await page.locator('#cards canvas').count(), 4)
    assert.is(loaded.filter((address) => /computing|mnist/.test(address)).length, 0, loaded.join())
    for (const link of await page.locator('header a[href^=docs]').all()) {
      const response = await page.request.get(new URL(await link.getAttribute('href'), page.url()).href)
      assert.match(response.headers()['content-type'], /^text\/plain/)
    }
  }
  const answer = await page.evaluate(async () => {
    const { id, size } = await globalThis.paraformer.call('model', 'shipped')
    const small = new OffscreenCanvas(size, size).getContext('2d')
    small.imageSmoothingQuality = 'high'
    small.drawImage(document.getElementById('draw'), 0, 0, size, size)
    const pixels = small.getImageData(0, 0, size, size).data.filter((_, i) => i % 4 === 0)
    return globalThis.paraformer.call('ask', { model: id, pixels: Uint8Array.from(pixels), order: [0, 1, 2, 3] })
  })
  const rounded = (rows) => rows.map((row) => row.map((value) => Number(value.toFixed(4))))
  if (process.env.UPDATE_EXAMPLE) {
    const { probabilities, attention } = answer
    writeFileSync(EXAMPLE, JSON.stringify({ probabilities: rounded(probabilities), attention: rounded(attention) }))
    await close()
    return
  }
  const shown = JSON.parse(readFileSync(EXAMPLE, 'utf8'))
  for (const name of ['probabilities', 'attention'])
    for (const [i, row] of shown[name].entries())
      for (const [j, value] of row.entries())
        assert.ok(Math.abs(value - answer[name][i][j]) < 0.01, `${name} ${i}, ${j}: ${value}, ${answer[name][i][j]}`)
  await close()
})

test('the model of the page reads a digit; branches switch, move and exit early', async () => {
  const { page, close } = await visit()
  await page.click('#tab-try')
  await page.waitForSelector('#answers .best')
  assert.match(await page.textContent('#model-name'), /the model of this page, 4 branches/)
  assert.is(await page.locator('#answers span.best').first().textContent(), '7')
  assert.is(await page.locator('#prefixes meter').count(), 4)
  assert.match(await page.textContent('#exit'), /^It answers 7 after \d of 4 branches/)
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
  const flags = '--dim 16 --heads 1 --mlp-dim 32 --patch-size 14 --branches 3 --train-images 640 --test-images 50'.split(' ')
  await cli('train', ...flags, '--out', out)
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
  writeFileSync(broken, readFileSync((await wholeRun()).path).subarray(0, 1000))
  await page.setInputFiles('#open-model', broken)
  await page.waitForSelector('#trouble:not([hidden])')
  assert.match(await page.textContent('#trouble'), /^broken\.safetensors: /)
  assert.match(await page.textContent('#model-name'), /the model of this page/)
  await page.click('.branch:nth-child(1) button[aria-pressed]')
  await page.waitForFunction(() => document.querySelectorAll('#prefixes meter').length === 3)
  await close()
})
