// The example of a page: it is bundled as its comment says. test/web/run.mjs opens it in a browser.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { buildModules } from '../../buildModules.mjs'
import { suite } from '../harness/suite.ts'
import { makeUser } from '../harness/user.ts'

const user = makeUser()
const { test, run } = suite('example of a page')

test('one command bundles it with the package for browsers, and nothing of Node comes along', async () => {
  await buildModules(['train/index.ts'], join(user.folder, 'node_modules/paraformer/dist/modules'))
  const main = readFileSync('examples/page/main.js', 'utf8')
  const [, args = ''] = /npx esbuild (main\.js .*?) &&/.exec(main) ?? []
  const page = join(user.folder, 'examples/page')
  user.start('sh', '-c', `cd ${page} && ${resolve('node_modules/.bin/esbuild')} ${args} --log-level=error`)
  const bundle = readFileSync(join(page, 'bundle.js'), 'utf8')
  assert.ok(bundle.includes('mean square error') && bundle.includes('requestAdapter'))
  assert.not.match(bundle, /from ["'](node:|sharp|webgpu)|import\(["'](node:|sharp|webgpu)/)
  assert.match(readFileSync(join(page, 'index.html'), 'utf8'), '<script type="module" src="bundle.js">')
})

test('ends', () => user.remove())
run()
