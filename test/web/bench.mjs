import * as assert from 'uvu/assert'
import { test, visit } from './harness.mjs'

test('a bench runs, is cancelled, and is copied as JSON and Markdown', async () => {
  const { page, close } = await visit({ permissions: ['clipboard-read', 'clipboard-write'] })
  const copied = () => page.evaluate(() => navigator.clipboard.readText())
  const ends = (pattern) =>
    page.waitForFunction(
      (source) => new RegExp(source).test(document.getElementById('bench-status').textContent),
      pattern.source,
    )
  await page.click('#tab-bench')
  await page.selectOption('#bench-group', 'kernels')
  await page.fill('#bench-filter', '^kernels/softmax/')
  await page.check('#bench-quick')
  await page.click('#bench-start')
  await ends(/^\d+ timed\.$/)
  const rows = await page.locator('#bench-table tbody tr').count()
  assert.ok(rows > 1, `${rows} rows`)
  assert.is(await page.locator('#roofline circle title').count(), rows)
  assert.match(await page.textContent('#bench-ceilings'), /GFLOP\/s, .* GB\/s/)
  await page.click('#copy-json')
  await ends(/^Copied as JSON/)
  const { results, failures } = JSON.parse(await copied())
  assert.is(results.length, rows)
  assert.equal(failures, [])
  for (const { id, share } of results) assert.ok(share > 0 && share <= 1.05, `${id} reaches ${share}`)
  await page.click('#copy-markdown')
  await ends(/^Copied as Markdown/)
  assert.is((await copied()).split('\n').filter((line) => line.startsWith('| kernels/softmax')).length, rows)
  await page.fill('#bench-filter', '^kernels/(layerNorm|softmax)')
  await page.click('#bench-start')
  await ends(/^[1-9]\d* of \d+ done/)
  await page.click('#bench-stop')
  await ends(/^\d+ timed, then cancelled/)
  await page.fill('#bench-filter', 'nothing is called this')
  await page.click('#bench-start')
  await page.waitForSelector('#trouble:not([hidden])')
  assert.match(await page.textContent('#trouble'), /leaves nothing to time/)
  await close()
})
