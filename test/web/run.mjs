// Drives the page of `paraformer web` in headless Chromium on its software WebGPU, and counts the tests.
//
//   node test/web/run.mjs [PART OF A TITLE]
//
// CHROMIUM names the browser's program if it is at no usual place. dist/ must be built.
import { browser, close, tests } from './harness.mjs'
import './train.mjs'
import './keeping.mjs'
import './try.mjs'
import './answering.mjs'
import './data.mjs'
import './bench.mjs'
import './page.mjs'
import './forEveryone.mjs'
import './faults.mjs'
import './examplePage.mjs'
import './exampleNetworks.mjs'
import './fleet.mjs'

let passed = 0
const chosen = tests.filter(({ title }) => title.includes(process.argv[2] ?? ''))
console.log(`Chromium ${browser.version()}`)
for (const { title, body } of chosen) {
  const begin = performance.now()
  const error = await body().then(
    () => undefined,
    (reason) => reason,
  )
  if (!error) passed++
  console.log(`${error ? 'FAIL' : 'ok  '} ${title}: ${Math.round((performance.now() - begin) / 1000)} s`)
  if (error) console.log(error.stack ?? error)
}
await close()
console.log(`${passed} passed, ${chosen.length - passed} failed`)
process.exitCode = passed === chosen.length && passed > 0 ? 0 : 1
