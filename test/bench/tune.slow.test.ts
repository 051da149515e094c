// The tuner of a layer's forward pass tries every variant of all its kernels.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('paraformer bench --tune')
const folder = mkdtempSync(join(tmpdir(), 'paraformer-bench-'))

test('--tune full finds out what layers use', async () => {
  const args = ['layers', '--batch', '1', '--filter', 'layers/mlp/forward quick', '--quick', '--no-history', '--json']
  const { code, stdout, stderr } = await runCli(['bench', ...args, '--tune', 'full'], { env: { XDG_CACHE_HOME: folder } })
  if (code !== 0 || !/^tuning: \d+ shapes? of kernels in .*; 0 known before/m.test(stderr)) throw new Error(stderr)
  if (JSON.parse(stdout).results.length !== 1) throw new Error(stdout)
})

test('ends', () => rmSync(folder, { recursive: true, force: true }))

run()
