import { readFileSync, writeFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../harness/suite.ts'
import { picture } from './picture.ts'
import { imports } from './sources.ts'

const FILE = 'CONTRIBUTING.md'
const PICTURE = /```mermaid\n[\s\S]*?\n```/
const COMMAND = 'UPDATE_PICTURE=1 node test/run.mjs test/house/picture.test.ts'

const { test, run } = suite('picture of the imports')

test(`${FILE} shows the imports as they are`, () => {
  const text = readFileSync(FILE, 'utf8')
  const [shown] = PICTURE.exec(text) ?? []
  const drawn = picture(imports)
  if (shown === drawn) return
  if (!process.env.UPDATE_PICTURE) throw new Error(`the picture in ${FILE} is out of date; this draws it anew: ${COMMAND}`)
  assert.ok(shown, `${FILE} has no Mermaid picture to replace`)
  writeFileSync(
    FILE,
    text.replace(PICTURE, () => drawn),
  )
})

test('the picture has an arrow for each import between places, but none that a longer way makes redundant', () => {
  const imports = new Map([
    ['kernels/a/a.ts', []],
    ['engine/base/b.ts', []],
    ['engine/tensor/c.ts', ['engine/base/b.ts', 'engine/tensor/d.ts', 'kernels/a/a.ts']],
    ['engine/tensor/d.ts', []],
    ['model/e.ts', ['engine/tensor/c.ts', 'engine/base/b.ts']],
  ])
  assert.equal(picture(imports).split('\n').slice(2, -1), [
    '  kernels["kernels"]',
    '  engine_base["engine/base"]',
    '  engine_tensor["engine/tensor"]',
    '  model["model"]',
    '  engine_tensor --> kernels',
    '  engine_tensor --> engine_base',
    '  model --> engine_tensor',
  ])
})

run()
