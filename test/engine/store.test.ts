import { texts } from '#platform'
import { DeviceStore, deviceKey } from '../../engine/autotune/store.ts'
import type { AdapterSummary } from '../../engine/platform/types.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('device store')

// The test must not use the user's cache. In a browser, the page's origin has a database of its own.
if (typeof process === 'object') process.env.XDG_CACHE_HOME = `${process.cwd()}/.build/store-test`

/** The summary of a device that does not exist, another one in each call. */
function device(changes: Partial<AdapterSummary> = {}): AdapterSummary {
  const name = `store test ${Math.random()}`
  return {
    name,
    vendor: '',
    architecture: '',
    driver: '1.0',
    software: true,
    subgroupMinSize: 4,
    subgroupMaxSize: 8,
    subgroupMatrix: false,
    ...changes,
  }
}

function expect(found: unknown, expected: unknown, what: string): void {
  const [a, b] = [found, expected].map((value) => JSON.stringify(value))
  if (a !== b) throw new Error(`${what}: ${a}, expected ${b}`)
}

test('what is saved is found again; what is not is gone', async () => {
  const here = device()
  const store = await DeviceStore.open(here)
  expect(store.get('mode'), undefined, 'a new store')
  store.set('mode', { name: 'streams', ms: [1.5, 2] })
  expect((await DeviceStore.open(here)).get('mode'), undefined, 'not saved')
  await store.save()
  store.set('other', 1)
  const again = await DeviceStore.open(here)
  expect(again.get('mode'), { name: 'streams', ms: [1.5, 2] }, 'saved')
  expect([...again.entries()].length, 1, 'entries')
})

test('two that save keep what the other one saved', async () => {
  const here = device()
  const [store, other] = [await DeviceStore.open(here), await DeviceStore.open(here)]
  store.set('a', 1)
  other.set('b', 2)
  await store.save()
  await other.save()
  expect(Object.fromEntries((await DeviceStore.open(here)).entries()), { a: 1, b: 2 }, 'both')
  expect(other.get('a'), 1, 'after saving')
})

test('another device, driver or subgroup size has a store of its own', async () => {
  const here = device()
  const store = await DeviceStore.open(here)
  store.set('a', 1)
  await store.save()
  for (const change of [{ driver: '1.1' }, { subgroupMaxSize: 16 }, { vendor: 'v' }, { name: `${here.name} b` }]) {
    const there = { ...here, ...change }
    if (deviceKey(there) === deviceKey(here)) throw new Error(`the same key with ${JSON.stringify(change)}`)
    expect((await DeviceStore.open(there)).get('a'), undefined, JSON.stringify(change))
  }
  if (!/^[a-z0-9-]+$/.test(deviceKey(here))) throw new Error(`${deviceKey(here)} is no file name`)
})

const whole = JSON.stringify({ format: 1, values: { a: 1 } })
const DAMAGED = ['', '{', whole.slice(0, -2), 'null', '[]', '42', '{"format":1}', '{"format":1,"values":[]}', '\0\uffff']

test('a damaged store or one of another format is an empty one, and is replaced', async () => {
  for (const text of [...DAMAGED, whole.replace('1', '999')]) {
    const here = device()
    await texts.write(`tuning/${deviceKey(here)}.json`, text)
    const store = await DeviceStore.open(here)
    expect([...store.entries()], [], JSON.stringify(text))
    store.set('b', 2)
    await store.save()
    expect(Object.fromEntries((await DeviceStore.open(here)).entries()), { b: 2 }, `after ${JSON.stringify(text)}`)
  }
  const here = device()
  await texts.write(`tuning/${deviceKey(here)}.json`, whole)
  expect((await DeviceStore.open(here)).get('a'), 1, 'an undamaged one')
})

run()
