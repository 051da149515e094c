import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import * as assert from 'uvu/assert'
import { browser, PATIENCE, test, work } from './harness.mjs'

test('the example of a page learns its curve and draws it', async () => {
  const folder = join(work, 'page')
  cpSync('examples/page', folder, { recursive: true })
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(resolve('.'), join(folder, 'node_modules', 'paraformer'))
  const [, args] = /npx esbuild (main\.js .*?) &&/.exec(readFileSync(join(folder, 'main.js'), 'utf8'))
  await promisify(execFile)(resolve('node_modules/.bin/esbuild'), args.split(' '), { cwd: folder })
  const host = createServer(async (request, response) => {
    const name = request.url === '/' ? 'index.html' : request.url.slice(1)
    const types = { html: 'text/html', js: 'text/javascript' }
    const bytes = await readFile(join(folder, name)).catch(() => undefined)
    response.writeHead(bytes ? 200 : 404, { 'content-type': types[name.split('.').at(-1)] ?? 'text/plain' }).end(bytes)
  })
  await new Promise((done) => host.listen(0, 'localhost', done))
  const page = await browser.newPage()
  const wrong = []
  page.on('pageerror', (error) => wrong.push(error.message))
  await page.goto(`http://localhost:${host.address().port}/`)
  await page.waitForFunction(() => /^step 500 /.test(document.querySelector('p').textContent), undefined, { timeout: PATIENCE })
  const [, error] = /^step 500 on \S.*: mean square error ([\d.]+)$/.exec(await page.textContent('p'))
  assert.ok(Number(error) < 0.01, error)
  const reds = await page.evaluate(() => {
    const canvas = document.querySelector('canvas')
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    return data.filter((red, i) => i % 4 === 0 && red > 180 && data[i + 1] < 120 && data[i + 3] > 100).length
  })
  assert.ok(reds > 300, `${reds} red pixels`)
  assert.equal(wrong, [])
  await page.close()
  host.close()
})
