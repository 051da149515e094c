import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { resolve } from 'node:path'
import { build } from 'esbuild'
import * as assert from 'uvu/assert'
import { browser, PATIENCE, test } from './harness.mjs'

/** Trains a network on one batch: the loss must fall. It stands in place of the program of the example. */
const TRAINING = {
  charTransformer: `
    const model = new CharTransformer(11)
    const ids = pf.tensor(Int32Array.from({ length: 2 * 17 }, (_, i) => (i * 7 + (i >> 2)) % 11), { shape: [2, 17] })
    const optimizer = new pf.AdamW(model.namedParameters())
    const lossOf = () => pf.crossEntropy(model.forward(ids.slice([[], [0, 16]])), ids.slice([[], [1]]))
    const rate = 1e-3`,
  resnet: `
    const model = new ResNet().train()
    const images = pf.randn([8, 1, 28, 28])
    const labels = pf.tensor(Int32Array.from({ length: 8 }, (_, i) => i))
    const optimizer = new pf.Sgd(model.namedParameters(), { momentum: 0.9 })
    const lossOf = () => pf.crossEntropy(model.forward(images), labels)
    const rate = 0.02`,
}

const LOOP = `
    const step = pf.capture(() => {
      const loss = lossOf()
      loss.backward()
      optimizer.step(rate)
      optimizer.zeroGrad()
      return loss
    })
    const losses = []
    for (let i = 0; i < 6; i++) losses.push(await pf.scope(() => step()).item())
    globalThis.losses = losses`

for (const [example, training] of Object.entries(TRAINING)) {
  test(`the network of ${example}.mjs trains in the browser`, async () => {
    const [classes] = readFileSync(`examples/${example}.mjs`, 'utf8').split('// Training')
    const begin = 'const device = await pf.requestDevice()\ndevice.random.seed = 1\n'
    const { outputFiles } = await build({
      stdin: { contents: `${classes}${begin}${training}${LOOP}`, resolveDir: resolve('.'), sourcefile: 'main.js' },
      ...{ bundle: true, write: false, format: 'esm', platform: 'browser', target: 'es2022', tsconfigRaw: '{}' },
      alias: { paraformer: resolve('dist/modules/train/index.js') },
      conditions: ['browser'],
      logLevel: 'warning',
    })
    const host = createServer((request, response) => {
      const script = request.url === '/main.js'
      response.setHeader('content-type', script ? 'text/javascript' : 'text/html')
      response.end(
        script ? outputFiles[0].text : '<!doctype html><title>A network</title><script type="module" src="main.js"></script>',
      )
    })
    await new Promise((done) => host.listen(0, 'localhost', done))
    const page = await browser.newPage()
    const wrong = []
    page.on('pageerror', (error) => wrong.push(error.message))
    await page.goto(`http://localhost:${host.address().port}/`)
    await page
      .waitForFunction(() => globalThis.losses !== undefined, undefined, { timeout: PATIENCE })
      .catch((error) => {
        throw new Error(`${wrong} ${error.message}`)
      })
    const losses = await page.evaluate(() => globalThis.losses)
    assert.equal(wrong, [])
    assert.ok(losses.length === 6 && losses[5] < losses[0] - 0.1, `${losses}`)
    await page.close()
    host.close()
  })
}
