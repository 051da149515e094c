import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { suite } from '../harness/suite.ts'
import { reachable } from './graph.ts'
import { imports, parse } from './sources.ts'

const { test, run } = suite('side effects')
const { sideEffects } = JSON.parse(readFileSync('package.json', 'utf8')) as { sideEffects: string[] }
const entries = ['train/index.ts', 'train/ops.ts']
/** Statements that a bundler may leave out with a module that nothing is imported from. */
const DECLARATIONS = /^(Import|Export|Function|Class|Variable|TS)\w*Declaration$|^EmptyStatement$/

/** Whether a module runs in Node alone. */
function isNodes(file: string): boolean {
  return /from 'node:/.test(readFileSync(file, 'utf8'))
}

test('only the modules that package.json names do something when they are loaded', () => {
  const reached = [...new Set(entries.flatMap((entry) => [entry, ...reachable(imports, entry)]))].filter((file) =>
    /\.ts$/.test(file),
  )
  if (reached.length < 200) throw new Error(`only ${reached.length} modules`)
  const wrong = reached.filter((file) => {
    if (sideEffects.includes(`./${file}`) || isNodes(file)) return false
    const { program } = parse(file, readFileSync(file, 'utf8'))
    return program.body.some(({ type }) => !DECLARATIONS.test(type))
  })
  if (wrong.length > 0) throw new Error(wrong.join(', '))
})

test('each of them has its built module in the list, and all bundles for Node', () => {
  const sources = sideEffects.filter((path) => path.endsWith('.ts'))
  const built = sources.map((path) => path.replace('./', './dist/modules/').replace('.ts', '.js'))
  if (!sources.includes('./engine/methods.ts')) throw new Error(sources.join())
  const missing = [...sources, ...built, './dist/node/*.js'].filter((path) => !sideEffects.includes(path))
  if (missing.length > 0 || sideEffects.length !== 2 * sources.length + 1) throw new Error(`${missing} of ${sideEffects}`)
})

test('paraformer/ops does without methods: it does not reach them, and nothing below it calls one', () => {
  if (reachable(imports, 'train/ops.ts').has('engine/methods.ts')) throw new Error('train/ops.ts reaches engine/methods.ts')
  const folder = resolve(`.build/ops-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  const files = ['kernels/wgsl.d.ts', 'train/ops.ts'].map((file) => resolve(file))
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ extends: resolve('tsconfig.json'), include: [], files }))
  try {
    execFileSync(process.execPath, [resolve('node_modules/typescript/lib/tsc.js'), '-p', folder], { encoding: 'utf8' })
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

run()
