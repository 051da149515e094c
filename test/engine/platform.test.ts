import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/base/errors.ts'
import { cacheFolders } from '../../engine/platform/cache.ts'
import { collectGarbage, files, listAdapters, openDevice, texts } from '../../engine/platform/node.ts'
import { findSwiftShader } from '../../engine/platform/swiftshader.ts'
import type { AdapterSummary, OpenedDevice } from '../../engine/platform/types.ts'
import { suite } from '../harness/suite.ts'

// This file starts itself in child processes; what they do is the first word.
const roles: Record<string, (adapter: string | undefined) => Promise<void>> = {
  async open(adapter) {
    const opened = await openDevice({ adapter })
    await compute(opened.device)
    const variables = [process.env.VK_DRIVER_FILES, process.env.VK_ICD_FILENAMES].map((value) => value ?? null)
    const { limits, features } = opened.device
    console.log(
      JSON.stringify({ ...opened.summary, variables, binding: limits.maxStorageBufferBindingSize, features: [...features] }),
    )
    opened.device.destroy()
  },
  /** Devices that come and go; tells how many threads there are after the first and after the last. */
  async many(adapter) {
    const counts: number[] = []
    for (let i = 0; i < 30; i++) {
      const { device } = await openDevice({ adapter })
      await compute(device)
      device.destroy()
      await device.lost
      if (i === 4 || i === 29) {
        await new Promise((resolve) => setTimeout(resolve, 100))
        collectGarbage()
        await new Promise((resolve) => setTimeout(resolve, 100))
        counts.push(readdirSync('/proc/self/task').length)
      }
    }
    console.log(JSON.stringify(counts))
  },
  /** Whether timers of the program are what they were while and after the device works, whose questions must be slow all the same. */
  async timers(adapter) {
    const before = globalThis.setImmediate
    const { device } = await openDevice({ adapter })
    let seen = globalThis.setImmediate === before
    let handles = 0
    const watch = setInterval(() => {
      seen &&= globalThis.setImmediate === before
      clearImmediate(setImmediate(() => assert.unreachable('was cleared')))
      handles++
    }, 1)
    const waiting = compute(device)
    seen &&= globalThis.setImmediate === before
    await waiting
    const buffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    await buffer.mapAsync(GPUMapMode.READ)
    await new Promise((resolve) => setTimeout(resolve, 50))
    clearInterval(watch)
    console.log(JSON.stringify({ seen, handles: handles > 0 }))
    device.destroy()
  },
  /** Ends while the device owes a read-back and a compilation, and nothing refers to it any more. */
  async forget(adapter) {
    const { device } = await openDevice({ adapter })
    await compute(device)
    const buffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    void buffer.mapAsync(GPUMapMode.READ)
    void device.createComputePipelineAsync(pipeline(device))
    void device.queue.onSubmittedWorkDone()
  },
  async fail(adapter) {
    await openDevice({ adapter })
    throw new Error('on purpose')
  },
  async unpack() {
    console.log(JSON.stringify(await findSwiftShader()))
  },
  /** As a user of whom the system knows nothing, where this process may become one. */
  async homeless() {
    delete process.env.HOME
    delete process.env.XDG_CACHE_HOME
    if (process.getuid?.() === 0) {
      process.setgroups!([])
      process.setuid!(12345)
    }
    await texts.write('tuning/homeless.json', 'kept')
    console.log(JSON.stringify([process.getuid!(), await texts.read('tuning/homeless.json'), await findSwiftShader()]))
  },
}

interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

const running = new Set<ChildProcess>()

/** Starts this file in a role; variables of the parent that choose a device are not passed on. */
function start(role: string, adapter?: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const { PARAFORMER_ADAPTER, VK_DRIVER_FILES, VK_ICD_FILENAMES, NODE_CHANNEL_FD, ...inherited } = process.env
  const args = ['--enable-source-maps', process.argv[1]!, role, ...(adapter ? [adapter] : [])]
  const child = spawn(process.execPath, args, { env: { ...inherited, ...env }, timeout: 60_000, killSignal: 'SIGKILL' })
  running.add(child)
  return new Promise((resolve) => {
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (text) => (stdout += text))
    child.stderr.on('data', (text) => (stderr += text))
    child.on('close', (code, signal) => {
      running.delete(child)
      resolve({ code, signal, stdout, stderr })
    })
  })
}

/** What a child printed, as JSON, when it ended well. */
function printed<T>(ended: Ended): T {
  assert.is(ended.code, 0, `code ${ended.code} ${ended.signal}: ${ended.stderr}`)
  return JSON.parse(ended.stdout.split('\n')[0]!) as T
}

function pipeline(device: GPUDevice): GPUComputePipelineDescriptor {
  const code = `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { out[id.x] = 3u * id.x; }`
  return { layout: 'auto', compute: { module: device.createShaderModule({ code }) } }
}

/** Multiplies 64 numbers and reads them back. */
async function compute(device: GPUDevice): Promise<void> {
  const compiled = await device.createComputePipelineAsync(pipeline(device))
  const out = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC })
  const staging = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(compiled)
  const entries = [{ binding: 0, resource: { buffer: out } }]
  pass.setBindGroup(0, device.createBindGroup({ layout: compiled.getBindGroupLayout(0), entries }))
  pass.dispatchWorkgroups(1)
  pass.end()
  encoder.copyBufferToBuffer(out, 0, staging, 0, 256)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const values = new Uint32Array(staging.getMappedRange())
  if (values[63] !== 189) throw new Error(`computed ${values[63]}, expected 189`)
}

async function userError(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => assert.unreachable('did not throw'),
    (thrown: unknown) => thrown,
  )
  assert.instance(error, UserError)
  assert.not((error as UserError).message.includes('\n'), 'one line')
  return (error as UserError).message
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Runs a body with other variables for the cache, which are put back. */
async function withCache<T>(
  XDG_CACHE_HOME: string,
  body: () => Promise<T>,
  TMPDIR = process.env.TMPDIR,
  HOME = process.env.HOME,
): Promise<T> {
  const wanted = { XDG_CACHE_HOME, TMPDIR, HOME }
  const before = Object.keys(wanted).map((name) => [name, process.env[name]] as const)
  const set = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  for (const [name, value] of Object.entries(wanted)) set(name, value)
  return body().finally(() => {
    for (const [name, value] of before) set(name, value)
  })
}

async function runTests(): Promise<void> {
  const { test, run } = suite('platform')
  const adapters = await listAdapters()
  const software = adapters.filter((one) => one.software)

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
        const listed = adapters.find((one) => one.name === name && one.driver === driver)!
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

  if (adapters.some(({ name }) => name.includes('swiftshader'))) {
    test('without drivers on the machine SwiftShader serves, and the variable stays', async () => {
      const nowhere = join(tmpdir(), 'no-such-driver.json')
      const seen = printed<AdapterSummary & { variables: unknown }>(
        await start('open', undefined, { VK_DRIVER_FILES: nowhere }),
      )
      assert.match(seen.name, /swiftshader/)
      assert.equal(seen.variables, [nowhere, null])
    })

    test('processes and calls that unpack at once all get a whole folder', () =>
      inFolder(async (folder) => {
        const ended = await Promise.all(Array.from({ length: 4 }, () => start('unpack', undefined, { XDG_CACHE_HOME: folder })))
        const cache = join(folder, 'paraformer')
        const calls = await withCache(folder, () => Promise.all(Array.from({ length: 4 }, () => findSwiftShader())))
        for (const found of [...ended.map((one) => printed<{ icd: string; loader: string }>(one)), ...calls]) {
          assert.ok(existsSync(found!.icd) && existsSync(found!.loader))
        }
        assert.is(readdirSync(cache).length, 1)
        assert.equal(
          readdirSync(join(cache, readdirSync(cache)[0]!)).sort(),
          ['SHA256SUMS', 'libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json'],
          'nothing temporary is left',
        )
      }))

    test('a folder whose files are gone, cut short or changed is made whole again before one is loaded', () =>
      inFolder(async (cache) => {
        const unpack = () => withCache(cache, findSwiftShader)
        const first = (await unpack())!
        const folder = dirname(first.icd)
        const names = readdirSync(folder)
        const contents = names.map((name) => readFileSync(join(folder, name)))
        const spoil: ((path: string) => void)[] = [
          rmSync,
          (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
          (path) => truncateSync(path, 0),
          (path) => writeFileSync(path, readFileSync(path).fill(0x41, 20, 40)),
        ]
        for (const [i, change] of spoil.entries()) {
          for (const name of names) {
            change(join(folder, name))
            assert.equal(await unpack(), first)
            names.forEach((one, j) => {
              assert.ok(readFileSync(join(folder, one)).equals(contents[j]!), `${one} after change ${i} of ${name}`)
            })
          }
          change(join(folder, 'libvk_swiftshader.so'))
          printed(await start('open', 'swiftshader', { XDG_CACHE_HOME: cache }))
        }
        assert.equal(readdirSync(folder), names)
      }))

    test('a cache that cannot be written gives way to a private temporary folder; without that, one line', () =>
      inFolder(async (folder) => {
        const found = await withCache('/proc/nowhere', findSwiftShader, folder)
        assert.is(dirname(dirname(found!.icd)), join(folder, `paraformer-${process.getuid!()}`))
        assert.is(statSync(dirname(dirname(found!.icd))).mode & 0o777, 0o700)
        const refused = withCache('/proc/nowhere', findSwiftShader, '/proc/nowhere')
        assert.match(await userError(refused), /SwiftShader cannot be unpacked.*XDG_CACHE_HOME/)
        // What others may write is not loaded.
        chmodSync(dirname(dirname(found!.icd)), 0o777)
        assert.match(await userError(withCache('/proc/nowhere', findSwiftShader, folder)), /cannot be unpacked/)
      }))

    test('users without a home have a cache', () =>
      inFolder(async (folder) => {
        chmodSync(folder, 0o777)
        const own = process.getuid!() === 0 ? 12345 : process.getuid!()
        const [uid, text, found] = printed<[number, string, { icd: string }]>(
          await start('homeless', undefined, { TMPDIR: folder }),
        )
        assert.equal([uid, text], [own, 'kept'])
        if (own === 12345) assert.ok(found.icd.startsWith(join(folder, `paraformer-${own}`)), found.icd)
      }))
  }

  test('XDG_CACHE_HOME holds if it is absolute; else the home does, and without one a temporary folder', () =>
    inFolder(async (folder) => {
      const home = join(folder, 'home')
      for (const [named, HOME, expected] of [
        [join(folder, 'xdg'), home, join(folder, 'xdg', 'paraformer')],
        ['', home, join(home, '.cache', 'paraformer')],
        ['relative', home, join(home, '.cache', 'paraformer')],
        ['', 'relative', undefined],
        ['', '', undefined],
      ] as const) {
        const own = join(folder, `paraformer-${process.getuid!()}`)
        const found = await withCache(named, async () => cacheFolders(), folder, HOME)
        assert.equal(found, expected === undefined ? [own] : [expected, own], `${named} ${HOME}`)
      }
    }))

  test('a text is read from where it was written last', () =>
    inFolder(async (folder) => {
      const [home, other] = [join(folder, 'home'), join(folder, 'other')]
      const put = (text: string, cache: string) => withCache(cache, () => texts.write('tuning/a.json', text), other)
      const read = (cache: string) => withCache(cache, () => texts.read('tuning/a.json'), other)
      mkdirSync(other)
      await put('first', home)
      writeFileSync(join(folder, 'file'), '')
      await put('second', join(folder, 'file'))
      assert.is(await read(home), 'second')
      await put('third', home)
      assert.is(await read(home), 'third')
      assert.is(await read(join(folder, 'file')), undefined, 'nothing stale is left')
      assert.match(await userError(withCache('/proc/nowhere', () => texts.write('a', 'b'), '/proc/nowhere')), /XDG_CACHE_HOME/)
    }))

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

  test('50 starts and exits, half of them without an end: none crashes or hangs', async () => {
    const ends = await eachOfTwo(50, (i) => start(i % 2 ? 'forget' : 'open', adapters[(i >> 1) % adapters.length]!.name))
    const bad = ends.filter(({ code, signal }) => code !== 0 || signal !== null)
    assert.equal(bad, [])
    assert.is((await start('fail')).code, 1, 'an exception ends the process with code 1')
    assert.is(running.size, 0)
  })

  test('files are written whole, folders included', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'a', 'b', 'numbers.bin')
      await files.write(path, Uint8Array.of(1, 2, 3))
      assert.equal([...(await files.read(path))], [1, 2, 3])
      assert.equal(readdirSync(dirname(path)), ['numbers.bin'])
    }))

  run()
}

/** Runs a body n times, two at a time. */
async function eachOfTwo<T>(n: number, body: (i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async () => {
    while (next < n) results.push(await body(next++))
  }
  await Promise.all([worker(), worker()])
  return results
}

const [role, adapter] = process.argv.slice(2)
await (role ? roles[role]!(adapter) : runTests())
