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
import { build } from 'esbuild'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('package')
const work = mkdtempSync(join(tmpdir(), 'paraformer-package-'))
const user = join(work, 'user')
const installed = join(user, 'node_modules', 'paraformer')
const manifest = JSON.parse(readFileSync('package.json', 'utf8'))

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
    'tsconfig.json',
    'tsconfig.types.json',
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
      !/^(package\.json|README\.md|LICENSE|dist\/.+(?<!\.test)(\.js|\.d\.ts)|dist\/web\/[\w/-]+\.(html|css|svg|gz|safetensors)|train\/studies\/[\w-]+\/(study\.ts|(registered|checks)\.json|(results|trials)\.jsonl|runs\/\w+\/\w+\.jsonl?))$/.test(
        name,
      ),
  )
  if (wrong.length > 0 || files.includes('dist/stale.js'))
    throw new Error(`travels: ${wrong.slice(0, 10).join(', ')}, or stale.js`)
  if (!existsSync(join(source, 'dist/node/index.js.map'))) throw new Error('source maps stay at home')
  for (const path of [...Object.values<string>(manifest.exports['.']), ...Object.values<string>(manifest.bin)])
    if (!existsSync(join(installed, path))) throw new Error(`${path} is missing`)
})

test('its declarations name nothing that TypeScript 5.4 or a machine without its sources lacks', () => {
  const entries = manifest.exports['.']
  const found = new Set<string>([entries.types, entries['types@<6']].map((path) => join(installed, path)))
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
  const old = readFileSync(join(installed, entries['types@<6']), 'utf8')
  if (!/^\/\/\/ <reference types="@webgpu\/types"/m.test(old) || !manifest.dependencies['@webgpu/types']) throw new Error(old)
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

test('it compiles where it is installed, strictly and with declarations checked, and runs there', () => {
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(user, 'node_modules', name)), { recursive: true })
    symlinkSync(resolve('node_modules', name), join(user, 'node_modules', name))
  }
  writeFileSync(join(user, 'package.json'), JSON.stringify({ type: 'module' }))
  writeFileSync(join(user, 'user.ts'), program)
  for (const [module, moduleResolution] of [
    ['esnext', 'bundler'],
    ['nodenext', 'nodenext'],
  ]) {
    for (const lib of [['es2022', 'dom'], ['es2023']]) {
      const compilerOptions = { module, moduleResolution, lib, target: 'es2022', types: [], strict: true, skipLibCheck: false }
      writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['user.ts'] }))
      start(user, process.execPath, resolve('node_modules/typescript/lib/tsc.js'), '-p', '.')
    }
  }
  const said = start(user, process.execPath, 'user.js')
  if (!said.includes('[12,true,"function","function"]')) throw new Error(said)
  if (!start(user, process.execPath, join(installed, manifest.bin.paraformer), '--version').includes(manifest.version))
    throw new Error('the command line does not start')
})

test('a study of a user runs in an empty folder: a model, a residual form and a scheme of their own', () => {
  writeFileSync(join(user, 'own.study.ts'), readFileSync('test/study/own.study.ts'))
  const cli = join(installed, manifest.bin.paraformer)
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
