import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadSafetensors } from '../../train/checkpoint/files.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('README')
const readme = readFileSync('README.md', 'utf8')

test('the library example runs as it stands, learns, and saves what it says', async () => {
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  if (!example) throw new Error('README has no ts example')
  const work = mkdtempSync(join(tmpdir(), 'paraformer-readme-'))
  const script = join(work, 'example.mjs')
  writeFileSync(script, example.replace("from 'paraformer'", `from '${new URL('./index.js', import.meta.url)}'`))
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { cwd: work, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  const losses = stdout
    .split('\n')
    .filter((line) => /^\d+ /.test(line))
    .map((line) => Number(line.split(' ')[1]))
  if (losses.length !== 30 || !(losses.at(-1)! < losses[0]! - 0.5)) throw new Error(stdout)
  const { tensors, metadata } = await loadSafetensors(join(work, 'model.safetensors'))
  if (!tensors.has('branches.3.layers.0.mlp.fc2.bias') || !metadata.config) throw new Error([...tensors.keys()].join())
  rmSync(work, { recursive: true })
})

test('the two commands of a fresh machine come first', () => {
  const [start, check] = [readme.indexOf('npm ci && npm start'), readme.indexOf('npm ci && npm test')]
  if (!(start > 0 && check > start && check < readme.indexOf('## '))) throw new Error(`at ${start} and ${check}`)
})

run()
