import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { browser, fill, forEveryone, SMALL, status, test, visit } from './harness.mjs'

/** Bytes of the files of the first load, data apart. */
const MOST_BYTES = 500_000
/** Milliseconds of the longest task on the main thread while a run trains. */
const LONGEST_TASK = 50
const TABS = ['train', 'try', 'bench', 'device']

test('the first load is under 500 KB, and what trains comes later, gzipped in less', async () => {
  const loaded = new Map()
  const { page, close } = await visit({
    tab: '',
    prepare: async (context) => {
      context.on('response', async (response) => {
        const body = await response.body().catch(() => undefined)
        if (body) loaded.set(new URL(response.url()).pathname, body)
      })
    },
  })
  const sizes = () => {
    const code = [...loaded].filter(([path]) => !path.startsWith('/data/') && !path.startsWith('/model/'))
    const bytes = code.reduce((sum, [, body]) => sum + body.length, 0)
    const packed = code.reduce((sum, [, body]) => sum + gzipSync(body).length, 0)
    return { files: code.length, bytes, packed }
  }
  await page.waitForLoadState('networkidle')
  await page.waitForFunction(() => globalThis.paraformer)
  const first = sizes()
  console.log(`     first load: ${first.bytes} bytes in ${first.files} files, ${first.packed} gzipped`)
  assert.ok(first.bytes < MOST_BYTES && first.files >= 4, JSON.stringify(first))
  await page.click('#tab-train')
  await fill(page, SMALL)
  await page.click('#start')
  await status(page, /^Training: mini-batch/)
  const all = sizes()
  console.log(`     with what trains: ${all.bytes} bytes in ${all.files} files, ${all.packed} gzipped`)
  assert.ok(all.packed < MOST_BYTES && all.bytes > first.bytes, JSON.stringify(all))
  await close()
})

test('no task on the main thread takes over 50 ms while a run trains', async () => {
  const { page, close } = await visit()
  // The time of the thread alone is counted, since other programs make the clock's time longer.
  await browser.startTracing(page, { categories: ['disabled-by-default-devtools.timeline', '__metadata'] })
  await fill(page, { ...SMALL, branches: '4' })
  await page.click('#start')
  await status(page, /^Finished/)
  const trace = JSON.parse(await browser.stopTracing())
  const tasks = mainThreadTasks(trace.traceEvents)
  const longest = Math.max(...tasks.map(({ own }) => own))
  const clock = Math.max(...tasks.map((task) => task.clock))
  const times = `${longest.toFixed(1)} ms of its own time, ${clock.toFixed(1)} by the clock`
  console.log(`     ${tasks.length} tasks on the main thread, the longest ${times}`)
  assert.ok(tasks.length > 100 && longest <= LONGEST_TASK, `${longest} ms`)
  await close()
})

/** Milliseconds, of its own time and by the clock, of each task on the main thread of the page. Its process has a worker; those of pages before may still have theirs. */
function mainThreadTasks(events) {
  const threads = events.filter(({ name }) => name === 'thread_name')
  const pids = new Set(threads.filter(({ args }) => args.name.startsWith('DedicatedWorker')).map(({ pid }) => pid))
  const mains = threads.filter(({ pid, args }) => pids.has(pid) && args.name === 'CrRendererMain')
  const tasks = mains.map(({ pid, tid }) =>
    events.filter((event) => event.name === 'RunTask' && event.pid === pid && event.tid === tid && event.tdur !== undefined),
  )
  const [most] = tasks.sort((one, other) => other.length - one.length)
  return most.map(({ tdur, dur }) => ({ own: tdur / 1000, clock: dur / 1000 }))
}

for (const colorScheme of ['light', 'dark'])
  for (const width of [390, 1280, 1920])
    test(`every tab is for everyone and fits: ${colorScheme}, ${width} wide`, async () => {
      // The policy of the page lets no script in but its own.
      const { page, close } = await visit({ colorScheme, viewport: { width, height: 900 }, bypassCSP: true })
      await fill(page, SMALL)
      await page.click('#start')
      await status(page, /^Finished/)
      for (const tab of TABS) {
        await page.click(`#tab-${tab}`)
        if (tab === 'try') await page.waitForSelector('#answers .best')
        if (tab === 'device') await page.waitForSelector('#device-table table')
        if (tab === 'bench') {
          await page.selectOption('#bench-group', 'kernels')
          await page.fill('#bench-filter', '^kernels/softmax/direct')
          await page.check('#bench-quick')
          await page.click('#bench-start')
          await page.waitForSelector('#bench-table table')
        }
        await forEveryone(page, tab)
      }
      await close()
    })

test('the keyboard alone gets from tab to tab, and every field has a name', async () => {
  const { page, close } = await visit()
  await page.focus('#tab-train')
  for (const tab of ['bench', 'device', 'try', 'train']) {
    await page.keyboard.press('ArrowRight')
    // A panel without content is not visible; that of the device gets it late.
    await page.waitForSelector(`#${tab}`)
    assert.is(await page.evaluate(() => document.activeElement.id), `tab-${tab}`)
  }
  await close()
})
