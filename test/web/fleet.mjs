// A browser as a worker of a fleet: it takes a run and finishes it, and gives it back when its page closes.
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { CLI, forEveryone, PATIENCE, test, visit, work } from './harness.mjs'

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/** Starts the command line. @returns its output so far, and its end */
function start(args) {
  const child = spawn(process.execPath, [CLI, ...args])
  const found = { child, text: '' }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (found.text += text))
  found.ended = new Promise((resolve) => child.on('close', resolve))
  return found
}

async function until(what, isSo) {
  const end = performance.now() + PATIENCE
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited too long until ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Opens the page of a worker and lets it take runs. */
async function takeRuns(port, credentials, options) {
  const tab = await visit({ tab: '', expected: /./, ...options })
  await tab.page.goto(`${new URL(tab.page.url()).origin}/worker`)
  await tab.page.fill('#url', `ws://127.0.0.1:${port}`)
  await tab.page.fill('#name', 'browser-1')
  await tab.page.setInputFiles('#credentials', credentials)
  assert.is(await tab.page.textContent('#credentials-file'), 'browser-1.nk')
  await tab.page.click('#start')
  return { ...tab, log: () => tab.page.locator('#log').textContent() }
}

test('a browser takes a run of a study from the queue and finishes it; closing the page gives it back', async () => {
  const [port, webPort] = [await freePort(), await freePort()]
  const folder = join(work, 'fleet')
  const fleet = start(['fleet', 'up', '--folder', folder, '--port', port, '--web-port', webPort, '--workers', '0'])
  try {
    await until(
      () => fleet.text,
      () => /ending with Ctrl-C/.test(fleet.text),
    )
    const credentials = join(folder, 'browser-1.nk')
    const flags = [
      '--fleet',
      `nats://127.0.0.1:${port}`,
      '--auth',
      join(folder, 'coordinator.nk'),
      '--class',
      'browser',
      '--lease',
      '5',
    ]
    const settings = {
      ...{ dataset: 'mnist', validation: 0.01, trainImages: 400, testImages: 50, batchSize: 8, epochs: 12, warmup: 3 },
      ...{ patchSize: 14, dim: 8, heads: 1, dimHead: 8, mlpDim: 8, branches: 2, mode: 'serial' },
    }
    const file = join(work, 'browser.ts')
    writeFileSync(
      file,
      `import { defineStudy } from 'paraformer'
export default defineStudy({ id: 'browser', hypothesis: 'h', prediction: 'p', metric: 'testAccuracy', budget: 'parameters', decisionRule: [],
  arms: { joint: { settings: {} } }, seeds: [1], presets: { tiny: ${JSON.stringify(settings)} as never } })`,
    )
    const out = join(work, 'studies')
    const study = start(['study', 'run', file, ...flags, '--out', out])
    const first = await takeRuns(webPort, credentials)
    const seen = async () => `${await first.log()}\n${await first.page.textContent('#state')}`
    let shown = ''
    await until(
      () => `it trains: ${study.text}\n${shown}`,
      async () => {
        shown = await seen()
        return /attempt 1.*loss/s.test(shown)
      },
    )
    await first.page.close()
    // The policy of the page lets no script in but its own, which axe-core is not.
    const second = await takeRuns(webPort, credentials, { bypassCSP: true })
    await until(
      () => `it is done: ${study.text}\n${shown}`,
      async () => {
        shown = `${await second.log()}\n${await second.page.textContent('#state')}`
        return /done/.test(shown)
      },
    )
    assert.match(await second.log(), /attempt 2/)
    assert.is(await study.ended, 0, study.text)
    const [result] = readFileSync(join(out, 'browser-tiny', 'results.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map(JSON.parse)
    assert.is(result.optimizerSteps, 12 * 50)
    assert.ok(result.final.test.accuracy[0] > 0.1)
    assert.match(result.adapter, /swiftshader/i)
    const { checks } = JSON.parse(readFileSync(join(out, 'browser-tiny', 'checks.json'), 'utf8'))
    assert.equal(
      checks.map(({ arms }) => Object.keys(arms)),
      [['joint']],
      'the bits of the browser were checked',
    )
    for (const colorScheme of ['light', 'dark'])
      for (const width of [390, 1280]) {
        await second.page.emulateMedia({ colorScheme })
        await second.page.setViewportSize({ width, height: 844 })
        await forEveryone(second.page, `the worker, ${colorScheme}, ${width} wide`)
      }
    await second.page.click('#stop')
    await until(
      () => 'stopped',
      async () => /^Stopped; 1 runs done/.test(await second.page.textContent('#state')),
    )
    await second.page.context().close()
  } finally {
    fleet.child.kill('SIGINT')
    await fleet.ended
  }
})
