import { cpSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cli, download, fill, metadataOf, SMALL, status, tensorsOf, test, visit, wholeRun, work } from './harness.mjs'

test('a run trains to the end, its loss falls, and Node evaluates its checkpoint to the same accuracy', async () => {
  const { path, shown } = await wholeRun()
  const { history, settings } = JSON.parse(metadataOf(path).training)
  const [{ losses, accuracies, images }] = history
  assert.ok(losses[1] < 1.5 && images === 500, `losses ${losses}`)
  for (const [k, name] of ['branch 1 alone', 'all 2 branches'].entries())
    assert.ok(shown.includes(`accuracy of ${name}${(100 * accuracies[k]).toFixed(1)} %`), shown)
  const data = join(work, 'mnist')
  cpSync('dist/web/data/mnist', data, { recursive: true })
  const images500 = ['--images', String(settings.testImages)]
  const { prefixes } = JSON.parse(await cli('eval', '--checkpoint', path, '--data-dir', data, ...images500, '--json'))
  for (const [k, { accuracy, loss }] of prefixes.entries()) {
    assert.is(accuracy, accuracies[k], `accuracy of prefix ${k + 1}`)
    assert.ok(Math.abs(loss - losses[k]) < 1e-5, `loss ${loss}, ${losses[k]}`)
  }
})

test('a run that is paused, stepped and reloaded ends with the same bits', async () => {
  const { page, close } = await visit()
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Training: mini-batch [2-9]\d? of 200/)
  await page.click('#start')
  const [, paused] = await status(page, /^Paused after mini-batch (\d+) of 200/)
  await page.click('#step')
  await page.waitForFunction(
    (step) => document.getElementById('status').textContent.startsWith(`Paused after mini-batch ${step} `),
    Number(paused) + 1,
  )
  await page.reload()
  await status(page, new RegExp(`^Paused after mini-batch ${Number(paused) + 1} of 200`))
  assert.is(await page.inputValue('#settings [name=seed]'), SMALL.seed)
  await page.click('#start')
  await status(page, /^Finished: 200/)
  assert.is(tensorsOf(await download(page, 'reloaded.safetensors')), tensorsOf((await wholeRun()).path))
  await close()
})

test('a run whose device is lost goes on by itself, and ends with the same bits', async () => {
  const { page, close } = await visit()
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Training: mini-batch (5[5-9]|[6-9]\d|1\d\d) of 200/)
  await page.evaluate(() => globalThis.paraformer.call('loseDevice'))
  await status(page, /^Finished: 200/)
  assert.match(await page.textContent('#notes'), /training goes on from mini-batch [1-9]\d* on a new one/)
  assert.is(tensorsOf(await download(page, 'lost.safetensors')), tensorsOf((await wholeRun()).path))
  await close()
})
