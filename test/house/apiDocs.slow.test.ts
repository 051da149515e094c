import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as api from '../../train/index.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('the API reference')
const OUT = '.build/docs'

test('npm run docs builds it without a warning, with a page for every class and function, and for every page of docs', () => {
  rmSync(OUT, { recursive: true, force: true })
  const { status, stdout, stderr } = spawnSync('npm', ['run', 'docs'], { encoding: 'utf8' })
  if (status !== 0 || /warning/i.test(stdout + stderr)) throw new Error(stdout + stderr)
  const missing = Object.entries(api)
    .filter(([, value]) => typeof value === 'function')
    .map(([name]) => name)
    .filter(
      (name) => !['classes', 'functions', 'variables'].some((kind) => existsSync(join(OUT, kind, `paraformer.${name}.html`))),
    )
  if (missing.length > 0 || !existsSync(join(OUT, 'documents/own-images.html'))) throw new Error(`no page: ${missing}`)
})

run()
