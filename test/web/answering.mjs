import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  cli,
  drop,
  fill,
  give,
  inWorker,
  pngOf,
  reset,
  SMALL,
  status,
  test,
  trouble,
  visit,
  wholeRun,
  work,
} from './harness.mjs'

/** Waits until this model answers. */
const answers = (page, pattern) =>
  page.waitForFunction((source) => new RegExp(source).test(document.getElementById('model-name').textContent), pattern.source)
const prefixes = (page, count) =>
  page.waitForFunction((wanted) => document.querySelectorAll('#prefixes meter').length === wanted, count)
const shownSource = (page) => page.locator('#source option:checked').textContent()

test('4, 10: the select says what answers: a broken file changes nothing, and there is a way to each model', async () => {
  const { page, close } = await visit()
  const { path } = await wholeRun()
  const [good, broken] = ['good.SAFETENSORS', 'damaged.safetensors'].map((name) => join(work, name))
  copyFileSync(path, good)
  writeFileSync(broken, readFileSync(path).subarray(0, 1000))
  await give(page, '#open-files', path)
  await status(page, /^Finished: 200/)
  await page.click('#tab-try')
  await page.selectOption('#source', 'run')
  await answers(page, /^Answers: the run, 2 branches/)
  await page.setInputFiles('#open-model', broken)
  assert.match(await trouble(page), /^damaged\.safetensors: /)
  assert.match(await shownSource(page), /^of the run/)
  await page.click('[aria-label="add branch 1 later"]')
  await page.waitForFunction(() => /^2: /.test(document.querySelector('#prefixes span').textContent))
  await drop(page, '#try', good)
  await answers(page, /^Answers: good\.SAFETENSORS, 2 branches/)
  assert.is(await shownSource(page), 'good.SAFETENSORS')
  await page.selectOption('#source', 'shipped')
  await answers(page, /^Answers: the model of this page, 4 branches/)
  await prefixes(page, 4)
  await page.selectOption('#source', 'file')
  await answers(page, /^Answers: good/)
  await prefixes(page, 2)
  await close()
})

test('5: a run that is reset or replaced is left, and its place taken by what there is', async () => {
  const { page, close } = await visit()
  await page.click('#tab-try')
  await page.selectOption('#source', 'run')
  assert.match(await trouble(page), /there is no run yet/)
  await answers(page, /^Answers: the model of this page/)
  assert.match(await shownSource(page), /^trained on MNIST/)
  await page.click('#tab-train')
  for (const [branches, patchSize] of [
    ['2', '14'],
    ['5', '7'],
  ]) {
    await fill(page, { ...SMALL, branches, patchSize, epochs: '50' })
    await page.click('#start')
    await status(page, /^Training: mini-batch [2-9]/)
    await page.click('#start')
    await status(page, /^Paused/)
    await page.click('#tab-try')
    await page.selectOption('#source', 'run')
    await prefixes(page, Number(branches))
    await page.click('#tab-train')
    await reset(page)
  }
  await page.click('#tab-try')
  await answers(page, /^Answers: the model of this page, 4 branches/)
  await prefixes(page, 4)
  await close()
})

test('6: models that change while a visitor moves the slider and branches leave no error, and the last one answers', async () => {
  const { page, close } = await visit({ tab: 'try' })
  const { path } = await wholeRun()
  await page.setInputFiles('#open-model', path)
  await prefixes(page, 2)
  for (let i = 0; i < 10; i++) {
    await page.evaluate(
      (value) => {
        const select = document.getElementById('source')
        select.value = value
        select.dispatchEvent(new Event('change'))
        document.getElementById('clear').click()
        document.querySelector('[aria-label="add branch 1 later"]')?.click()
      },
      i % 2 ? 'file' : 'shipped',
    )
  }
  await answers(page, /^Answers: .*2 branches/)
  await prefixes(page, 2)
  assert.ok(await page.isHidden('#trouble'))
  await close()
})

test('the model of a file answers again after its device is lost', async () => {
  const remember = `
const request = GPUAdapter.prototype.requestDevice
GPUAdapter.prototype.requestDevice = async function (...args) { return globalThis.made = await request.apply(this, args) }
addEventListener('message', ({ data }) => data.name === 'lose' && globalThis.made.destroy())`
  const { page, close } = await visit({ tab: 'try', prepare: inWorker(remember) })
  await page.hover('#draw')
  await page.click('.branch:nth-child(2) button[aria-pressed]')
  await prefixes(page, 3)
  // The worker knows no such call, and the test hears nothing of it.
  await page.evaluate(() => void globalThis.paraformer.call('lose').catch(() => {}))
  await page.click('.branch:nth-child(1) button[aria-pressed]')
  await prefixes(page, 2)
  assert.ok(await page.isHidden('#trouble'))
  await close()
})

test('24 to 26, 32: the last branch stays on and says why, a right button draws nothing, and the same file opens twice', async () => {
  const { page, close } = await visit({ tab: 'try' })
  for (const branch of [1, 2, 3]) await page.click(`.branch:nth-child(${branch}) button[aria-pressed]`)
  await prefixes(page, 1)
  assert.match(await page.locator('#prefixes span').first().textContent(), /^4: \d$/)
  assert.match(await page.textContent('#cards .hint'), /^One branch at least must stay on/)
  const off = (selector) => page.locator(selector).getAttribute('aria-disabled')
  assert.is(await off('.branch:nth-child(4) button[aria-pressed]'), 'true')
  assert.is(await off('[aria-label="add branch 1 earlier"]'), 'true')
  assert.is(await off('[aria-label="add branch 4 later"]'), 'true')
  await page.click('#clear')
  const ink = () =>
    page.evaluate(() => {
      const canvas = document.getElementById('draw')
      return canvas
        .getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height)
        .data.filter((value) => value > 0).length
    })
  const empty = await ink()
  await page.click('#draw', { button: 'right' })
  assert.is(await ink(), empty)
  const image = join(work, 'gray.png')
  writeFileSync(image, pngOf(28, 200))
  for (let i = 0; i < 2; i++) {
    await page.setInputFiles('#open-image', image)
    await page.waitForFunction((before) => {
      const canvas = document.getElementById('draw')
      return (
        canvas
          .getContext('2d')
          .getImageData(0, 0, canvas.width, canvas.height)
          .data.filter((value) => value > 0).length > before
      )
    }, empty)
    await page.click('#clear')
  }
  await close()
})

test('33: a Vision Transformer is shown without branches, in Train and in Try', async () => {
  const out = join(work, 'vit')
  const sizes = '--architecture vit --depth 2 --dim 16 --heads 1 --mlp-dim 32 --patch-size 14'.split(' ')
  await cli('train', ...sizes, '--train-images', '640', '--test-images', '50', '--out', out)
  const { page, close } = await visit()
  await give(page, '#open-files', join(out, 'checkpoint.safetensors'))
  await page.waitForSelector('#numbers dt')
  assert.is(await page.textContent('#loss-name'), 'Loss')
  assert.ok(await page.isHidden('#gains-figure'))
  await page.click('#tab-try')
  await page.setInputFiles('#open-model', join(out, 'model.safetensors'))
  await answers(page, /^Answers: model\.safetensors, a Vision Transformer of 2 layers/)
  assert.is(await page.locator('.branch button').count(), 0)
  assert.ok(await page.isHidden('#prefix-part'))
  await close()
})

test('35: a folder that is dropped on Try is refused in plain words', async () => {
  const folder = join(work, 'folder')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'a.png'), pngOf(8, 100))
  const { page, close } = await visit({ tab: 'try' })
  await drop(page, '#try', folder)
  assert.match(await trouble(page), /^drop one image or one checkpoint here/)
  // An error ends with its tab, and with its cause.
  await page.click('#tab-train')
  assert.ok(await page.isHidden('#trouble'))
  await page.click('#tab-try')
  assert.ok(await page.isVisible('#trouble'))
  await page.setInputFiles('#open-image', join(folder, 'a.png'))
  await page.waitForSelector('#trouble', { state: 'hidden' })
  await close()
})
