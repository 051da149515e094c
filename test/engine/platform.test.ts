import * as assert from 'uvu/assert'
import { listAdapters, openDevice } from '../../engine/platform/node.ts'
import type { AdapterSummary, OpenedDevice } from '../../engine/platform/types.ts'
import { suite } from '../harness/suite.ts'
import { compute, eachOfTwo, playRole, printed, running, start } from './platformRoles.ts'

/** Number of processes that start and exit. `npm test` starts fewer. */
const STARTS = Number(process.env.PARAFORMER_STARTS ?? 50)

async function runTests(): Promise<void> {
  const { test, run } = suite('platform')
  const adapters = await listAdapters()
  const software = adapters.filter((adapter) => adapter.software)

  test('two devices at once, of the same and of different adapters', async () => {
    const asked = [...software, ...software].map(({ name }) => openDevice({ adapter: name }))
    const opened: OpenedDevice[] = await Promise.all(asked)
    assert.equal(
      opened.map(({ summary }) => summary.name),
      [...software, ...software].map(({ name }) => name),
    )
    await Promise.all(opened.map(({ device }) => compute(device)))
    for (const { device } of opened) device.destroy()
  })

  test('timestamps are not quantized', async () => {
    const { device } = await openDevice({})
    if (device.features.has('timestamp-query')) {
      const querySet = device.createQuerySet({ type: 'timestamp', count: 64 })
      const resolved = device.createBuffer({ size: 512, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC })
      const staging = device.createBuffer({ size: 512, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
      const encoder = device.createCommandEncoder()
      for (let i = 0; i < 64; i += 2) {
        encoder
          .beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: i, endOfPassWriteIndex: i + 1 } })
          .end()
      }
      encoder.resolveQuerySet(querySet, 0, 64, resolved, 0)
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 512)
      device.queue.submit([encoder.finish()])
      await staging.mapAsync(GPUMapMode.READ)
      const times = [...new BigUint64Array(staging.getMappedRange())]
      assert.ok(
        times.some((time) => time % 65536n !== 0n),
        times.join(),
      )
    }
    device.destroy()
  })

  for (const { name, driver } of adapters) {
    test(`${name} opens in a process of its own, by request and by variable`, async () => {
      for (const ended of [await start('open', name), await start('open', undefined, { PARAFORMER_ADAPTER: name })]) {
        const seen = printed<AdapterSummary & { variables: unknown; binding: number; features: string[] }>(ended)
        assert.is(seen.name, name)
        assert.is(seen.driver, driver)
        assert.equal(seen.variables, [null, null], 'the environment is as it was')
        const listed = adapters.find((adapter) => adapter.name === name && adapter.driver === driver)!
        assert.is(seen.binding, listed.limits.maxStorageBufferBindingSize)
        for (const feature of ['subgroups', 'shader-f16', 'timestamp-query']) {
          assert.is(seen.features.includes(feature), listed.features.includes(feature), feature)
        }
      }
    })
  }

  test('the default is the first adapter listed; an empty word asks for nothing; a request goes before the variable', async () => {
    for (const env of [{}, { PARAFORMER_ADAPTER: '' }]) {
      assert.is(printed<AdapterSummary>(await start('open', undefined, env)).name, adapters[0]!.name)
    }
    const last = adapters.at(-1)!.name
    assert.is(printed<AdapterSummary>(await start('open', last, { PARAFORMER_ADAPTER: 'radeon' })).name, last)
    const refused = await start('open', undefined, { PARAFORMER_ADAPTER: 'radeon' })
    assert.is(refused.code, 1)
    assert.match(refused.stderr, /no adapter is "radeon"; there are: /)
  })

  test('devices that are gone leave no threads behind', async () => {
    for (const { name } of adapters) {
      const { code, stdout } = await start('many', name)
      assert.is(code, 0)
      const [few, many] = JSON.parse(stdout.split('\n')[0]!) as [number, number]
      assert.ok(many <= few + 2, `${name}: ${few} threads after 5 devices, ${many} after 30`)
    }
  })

  test('no timer of the program is replaced', async () => {
    for (const { name } of adapters) {
      const { code, stdout } = await start('timers', name)
      assert.is(code, 0)
      assert.equal(JSON.parse(stdout.split('\n')[0]!), { seen: true, handles: true })
    }
  })

  test(`${STARTS} starts and exits, half of them without an end: none crashes or hangs`, async () => {
    const ends = await eachOfTwo(STARTS, (i) => start(i % 2 ? 'forget' : 'open', adapters[(i >> 1) % adapters.length]!.name))
    const bad = ends.filter(({ code, signal }) => code !== 0 || signal !== null)
    assert.equal(bad, [])
    assert.is((await start('fail')).code, 1, 'an exception ends the process with code 1')
    assert.is(running.size, 0)
  })

  run()
}

if (!(await playRole())) await runTests()
