// SwiftShader, which the package unpacks into a cache, and the texts that the platform keeps there.
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
import { files, listAdapters, texts } from '../../engine/platform/node.ts'
import { findSwiftShader } from '../../engine/platform/swiftshader.ts'
import type { AdapterSummary } from '../../engine/platform/types.ts'
import { suite } from '../harness/suite.ts'
import { playRole, printed, start } from './platformRoles.ts'

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

/** Runs a body with other environment variables for the cache, and restores them. */
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
  const { test, run } = suite('cache of the platform')
  const adapters = await listAdapters()

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
        for (const found of [...ended.map((text) => printed<{ icd: string; loader: string }>(text)), ...calls]) {
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
            names.forEach((file, j) => {
              assert.ok(readFileSync(join(folder, file)).equals(contents[j]!), `${file} after change ${i} of ${name}`)
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
        // A folder that others may write to is not trusted.
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

  test('files are written whole, folders included', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'a', 'b', 'numbers.bin')
      await files.write(path, Uint8Array.of(1, 2, 3))
      assert.equal([...(await files.read(path))], [1, 2, 3])
      assert.equal(readdirSync(dirname(path)), ['numbers.bin'])
    }))

  run()
}

if (!(await playRole())) await runTests()
