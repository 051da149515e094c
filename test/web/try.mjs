import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cli, test, visit, wholeRun, work } from './harness.mjs'

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
