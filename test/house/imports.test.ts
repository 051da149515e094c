import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../harness/suite.ts'
import { isAllowed, placeOf, wrongImports } from './order.ts'
import { importedNames, imports, importsIn, modules } from './sources.ts'

/** The modules of the package itself. */
const library = modules.filter((file) => /^(kernels|engine|model|train)\//.test(file))

/** The code of a module without its comment lines. */
function code(file: string): string {
  return readFileSync(file, 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
}

const { test, run } = suite('house')

test('imports go one way, and no modules import each other in a circle', () => {
  assert.equal([...wrongImports(imports)].map(([edge, why]) => `${edge}: ${why}`).join('\n'), '')
})

test('the rules: kernels <- engine <- model <- train, the order in engine/, and leaves that only tests import, but bench for web', () => {
  const file = { kernels: 'kernels/a/a.ts', tensor: 'engine/tensor/a.ts', ops: 'engine/ops/a.ts', top: 'engine/capture.ts' }
  const entry = 'engine/index.ts'
  for (const [from, target, allowed] of [
    [file.tensor, file.kernels, true],
    [file.kernels, file.tensor, false],
    [file.ops, file.tensor, true],
    [file.tensor, file.ops, false],
    [file.top, file.ops, true],
    [file.ops, file.top, false],
    ['engine/trace/a.ts', file.top, true],
    [file.top, 'engine/trace/a.ts', false],
    [entry, 'engine/autotune/a.ts', true],
    ['engine/autotune/a.ts', entry, false],
    ['model/a.ts', entry, true],
    [entry, 'model/a.ts', false],
    ['train/a.ts', 'model/a.ts', true],
    ['model/a.ts', 'train/a.ts', false],
    ['train/a.ts', 'bench/a.ts', false],
    ['web/a.ts', 'bench/a.ts', true],
    ['bench/a.ts', 'web/a.ts', false],
    ['bench/a.ts', 'test/a.ts', false],
    ['test/a.ts', 'bench/a.ts', true],
  ] as const) {
    assert.is(isAllowed(from, target), allowed, `${from} -> ${target}`)
  }
  assert.throws(() => isAllowed('engine/new/a.ts', entry), /engine\/new is missing/)
})

test('the rules: a circle of two modules, a module that imports itself, and a circle that a wrong import closes', () => {
  const [a, b, c] = ['train/a.ts', 'train/b.ts', 'model/c.ts'] as const
  const wrong = (edges: [string, string[]][]) => Object.fromEntries(wrongImports(new Map(edges)))
  assert.equal(
    wrong([
      [a, [b]],
      [b, [a]],
    ]),
    { [`${a} -> ${b}`]: `a circle: ${a} -> ${b} -> ${a}`, [`${b} -> ${a}`]: `a circle: ${b} -> ${a} -> ${b}` },
  )
  assert.equal(wrong([[a, [a]]]), { [`${a} -> ${a}`]: `a circle: ${a} -> ${a}` })
  assert.equal(
    wrong([
      [a, [c]],
      [c, [a]],
    ]),
    { [`${c} -> ${a}`]: 'model must not import train' },
  )
  assert.equal(
    wrong([
      [a, [b, c]],
      [b, [c]],
    ]),
    {},
  )
})

test('the scan sees every form of import, types included', () => {
  const text = `
    import a from './a.ts'
    import type { B } from './b.ts'
    import './c.ts'
    export * from './d.ts'
    export type { E } from './e.ts'
    type F = import('../base/f.ts').F
    const g = await import('./g.ts')
    import h from 'node:fs'
    import { i } from '#platform'
    import j from '../../package.json'
    // import k from './k.ts'
  `
  const found = [
    'layout/a',
    'layout/b',
    'layout/c',
    'layout/d',
    'layout/e',
    'base/f',
    'layout/g',
    'platform/browser',
    'platform/node',
  ]
  assert.equal(
    importsIn('engine/layout/x.ts', text),
    found.map((name) => `engine/${name}.ts`),
  )
  assert.throws(() => importsIn('engine/x.ts', 'import from'), /engine\/x\.ts/)
})

test('the scan sees every folder', () => {
  for (const place of ['kernels', 'engine/*.ts', 'engine/tensor', 'model', 'train', 'bench', 'test']) {
    assert.ok(
      modules.some((file) => placeOf(file) === place && imports.get(file)!.length > 0),
      place,
    )
  }
  const missing = [...imports].flatMap(([file, targets]) =>
    targets.filter((target) => /\.(ts|mjs)$/.test(target) && !imports.has(target)).map((target) => `${file} -> ${target}`),
  )
  assert.equal(missing, [])
})

test('only engine/platform and train know Node', () => {
  const wrong = library.filter((file) => {
    if (file.startsWith('train/') || file.startsWith('engine/platform/')) return false
    return /from ['"]node:|\bprocess\./.test(code(file))
  })
  assert.equal(wrong, [])
})

test('studies that come with the package import it by its name, as those of users do', () => {
  const studies = modules.filter((file) => file.startsWith('train/studies/'))
  assert.ok(studies.includes('train/studies/schemes/study.ts'))
  assert.equal(
    studies.filter((file) => imports.get(file)!.length > 0),
    [],
  )
})

test('examples import the package by its name and nothing else, and nothing imports them', () => {
  const examples = modules.filter((file) => file.startsWith('examples/'))
  assert.ok(examples.includes('examples/mlp.mjs') && examples.includes('examples/page/main.js'))
  const names = examples.flatMap((file) => importedNames(file, readFileSync(file, 'utf8')))
  assert.equal([...new Set(names)].sort(), ['paraformer', 'paraformer/ops'])
  const importers = modules.filter((file) => imports.get(file)!.some((target) => target.startsWith('examples/')))
  assert.equal(importers, [])
})

test('WGSL lives in .wgsl files only', () => {
  assert.equal(
    library.filter((file) => /@compute|@group\(/.test(code(file))),
    [],
  )
})

run()
