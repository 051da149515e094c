import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../harness/suite.ts'

const files = readdirSync('examples', { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
const { test, run } = suite('files of the examples')

test('an example has fewer than 80 lines', () => {
  const lengths = files.map((file) => [file, readFileSync(file, 'utf8').split('\n').length - 1] as const)
  assert.ok(lengths.length >= 9)
  assert.equal(
    lengths.filter(([, lines]) => lines >= 80),
    [],
  )
})

test('a program begins with what it shows and how it runs, and README lists it', () => {
  const readme = readFileSync('README.md', 'utf8')
  const names = files.filter((file) => !file.endsWith('.html'))
  const wrong = names.filter((file) => {
    const [head = ''] = /^(\/\/.*\n|"""[\s\S]*?""")+/.exec(readFileSync(file, 'utf8')) ?? []
    const link = dirname(file) === 'examples' ? file : `${dirname(file)}/`
    return !/node |python3 |npx /.test(head) || !readme.includes(`](${link})`)
  })
  assert.equal(wrong, [])
})

test('tests run every example', () => {
  const tests = [...readdirSync('test/examples').map((name) => join('test/examples', name)), 'test/house/package.test.ts']
  const texts = tests.map((file) => readFileSync(file, 'utf8'))
  // A folder is an example as a whole.
  const examples = files.map((file) => file.split('/')[1]!)
  const missing = examples.filter((name) => !texts.some((text) => text.includes(name)))
  assert.equal(missing, [])
})

run()
