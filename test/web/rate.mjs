// Compares the rate of training in headless Chromium with that of Node, both on SwiftShader.
//
//   node test/web/rate.mjs [--assert]
//
// `--assert` fails below 0.8 times the rate of Node. Other programs disturb both, so this is no part of the tests.
import { join } from 'node:path'
import { cli, close, download, fill, metadataOf, status, visit, work } from './harness.mjs'

const LEAST = 0.8
const ROUNDS = 3
const STEPS = 93
const BATCH = 64

/** Images a second of a run, by the seconds of training that its checkpoint says. */
const rateOf = (path) => (STEPS * BATCH) / JSON.parse(metadataOf(path).training).seconds

async function inChromium(round) {
  const { page, close } = await visit()
  await fill(page, { epochs: '1' })
  await page.click('#start')
  await status(page, /^Finished: 93/)
  const path = await download(page, `rate-${round}.safetensors`)
  await close()
  return path
}

/** Trains with the settings of a checkpoint. */
async function inNode(checkpoint, round) {
  const { settings } = JSON.parse(metadataOf(checkpoint).training)
  const flags = Object.entries(settings).flatMap(([name, value]) => {
    if (value === false || value === undefined || name === 'dataDir') return []
    return [`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, ...(value === true ? [] : [String(value)])]
  })
  const out = join(work, `rate-${round}`)
  await cli('train', ...flags, '--data-dir', 'dist/web/data/mnist', '--out', out)
  return join(out, 'checkpoint.safetensors')
}

const best = { Chromium: 0, Node: 0 }
for (let round = 0; round < ROUNDS; round++) {
  const checkpoint = await inChromium(round)
  best.Chromium = Math.max(best.Chromium, rateOf(checkpoint))
  best.Node = Math.max(best.Node, rateOf(await inNode(checkpoint, round)))
}
await close()
const share = best.Chromium / best.Node
console.log(
  `images a second, best of ${ROUNDS}: Chromium ${best.Chromium.toFixed(0)}, Node ${best.Node.toFixed(0)}, ${share.toFixed(2)}x`,
)
if (process.argv.includes('--assert') && !(share >= LEAST)) process.exitCode = 1
