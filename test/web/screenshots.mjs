// Writes a picture of every tab into web/screenshots: light and dark, 390 and 1280 pixels wide.
//
//   node test/web/screenshots.mjs [FOLDER]
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { close, fill, status, visit } from './harness.mjs'

const folder = process.argv[2] ?? 'web/screenshots'
const HEIGHTS = { 390: 844, 1280: 900 }

/** Brings every tab into a state worth seeing. */
const PREPARE = {
  async train(page) {
    await fill(page, { epochs: '2', dim: '32' })
    await page.click('#more-settings summary')
    await page.click('#start')
    await status(page, /^Finished/)
    await page.waitForFunction(() => document.querySelectorAll('#gains .gain').length === 4)
    await page.waitForTimeout(1000)
  },
  try: (page) => page.waitForSelector('#answers .best'),
  async bench(page) {
    await page.selectOption('#bench-group', 'kernels')
    await page.fill('#bench-filter', '(softmax|layerNorm|gather)/')
    await page.check('#bench-quick')
    await page.click('#bench-start')
    await page.waitForSelector('#bench-table table')
  },
  device: (page) => page.waitForSelector('#device-table table'),
}

mkdirSync(folder, { recursive: true })
const { page, close: leave } = await visit()
for (const [tab, prepare] of Object.entries(PREPARE)) {
  await page.click(`#tab-${tab}`)
  await prepare(page)
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme })
    for (const [width, height] of Object.entries(HEIGHTS)) {
      await page.setViewportSize({ width: Number(width), height })
      await page.waitForTimeout(500)
      const full = await page.screenshot({ fullPage: true })
      const path = join(folder, `${tab}-${colorScheme}-${width}.png`)
      await sharp(full).png({ palette: true, colours: 128, compressionLevel: 9, effort: 10 }).toFile(path)
    }
  }
}
await leave()
await close()
