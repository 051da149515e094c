import * as assert from 'uvu/assert'
import { test, visit } from './harness.mjs'

test('a browser without WebGPU is told which have it, and nothing hangs', async () => {
  const { page, close } = await visit({ withoutWebGpu: true })
  assert.match(await page.textContent('#trouble'), /no WebGPU.*Chrome.*Safari.*Firefox/)
  assert.ok(await page.isDisabled('#start'))
  await close()
})
