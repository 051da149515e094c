import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { suite } from '../harness/suite.ts'

const LAYERS = ['kernels', 'engine', 'model', 'train'] as const
const OUTSIDE = ['bench', 'test', 'web']

/** Repository-relative paths of the modules a file imports from this project, types left out where `types` is false. */
function importsOf(file: string, types: boolean): string[] {
  const text = readFileSync(file, 'utf8')
  const found: string[] = []
  for (const match of text.matchAll(
    /^(?:import|export)\s+(type\s)?[^'"]*?from\s+['"](\.[^'"]+)['"]|^import\s+['"](\.[^'"]+)['"]/gm,
  )) {
    if (match[1] && !types) continue
    found.push(normalize(join(dirname(file), match[2] ?? match[3]!)))
  }
  return found
}

/** A file without its comment lines. */
function code(file: string): string {
  return readFileSync(file, 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
}

const files = LAYERS.flatMap((layer) =>
  readdirSync(layer, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => join(layer, name)),
)

const { test, run } = suite('house')

test('imports go one way: kernels <- engine <- model <- train, and nothing imports bench, test or web', () => {
  const wrong: string[] = []
  for (const file of files) {
    const own = LAYERS.indexOf(file.split('/')[0] as (typeof LAYERS)[number])
    for (const target of importsOf(file, true)) {
      const layer = target.split('/')[0]!
      const other = LAYERS.indexOf(layer as (typeof LAYERS)[number])
      if (OUTSIDE.includes(layer) || other > own) wrong.push(`${file} imports ${target}`)
    }
  }
  if (wrong.length > 0) throw new Error(wrong.join('; '))
})

test('no module imports itself through others', () => {
  const edges = new Map(files.map((file) => [file, importsOf(file, false)]))
  const state = new Map<string, 'open' | 'done'>()
  const visit = (file: string, path: string[]): void => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') throw new Error(`cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`)
    state.set(file, 'open')
    for (const target of edges.get(file) ?? []) visit(target, [...path, file])
    state.set(file, 'done')
  }
  for (const file of files) visit(file, [])
})

test('the scan sees the imports it judges', () => {
  if (files.length < 50) throw new Error(`only ${files.length} files found; run the tests from the project's root`)
  if (!importsOf('engine/tensor/tensor.ts', false).includes('engine/layout/shape.ts'))
    throw new Error('engine/tensor/tensor.ts imports engine/layout/shape.ts')
})

test('only engine/platform and train know Node', () => {
  const wrong = files.filter((file) => {
    if (file.startsWith('train/') || file.startsWith('engine/platform/')) return false
    return /from ['"]node:|\bprocess\./.test(code(file))
  })
  if (wrong.length > 0) throw new Error(wrong.join(', '))
})

test('WGSL lives in .wgsl files only', () => {
  const wrong = files.filter((file) => /@compute|@group\(/.test(code(file)))
  if (wrong.length > 0) throw new Error(wrong.join(', '))
})

run()
