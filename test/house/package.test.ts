import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('package')

function tsc(cwd: string, ...args: string[]): void {
  const { status, stdout, stderr } = spawnSync(resolve('node_modules/.bin/tsc'), args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(stdout + stderr)
}

test('types resolve where the package is installed, without its sources', () => {
  const work = mkdtempSync(join(tmpdir(), 'paraformer-package-'))
  const installed = join(work, 'node_modules', 'paraformer')
  mkdirSync(installed, { recursive: true })
  copyFileSync('package.json', join(installed, 'package.json'))
  const emit = ['--noEmit', 'false', '--emitDeclarationOnly', '--declaration', '--outDir', join(installed, 'dist', 'types')]
  tsc('.', '-p', 'tsconfig.json', ...emit)
  const lines = [
    "import { type ModelConfig, type Tensor, listAdapters, ParaFormer } from 'paraformer'",
    'declare const config: ModelConfig',
    'export const adapters: { name: string }[] = await listAdapters()',
    '// @ts-expect-error a number: what does not resolve would be any, and pass',
    'export const wrong: number = await listAdapters()',
    'export const forward = (x: Tensor): Tensor => new ParaFormer(config as never).forward(x).relu()',
  ]
  writeFileSync(join(work, 'user.mts'), lines.join('\n'))
  for (const [module, resolution] of [
    ['esnext', 'bundler'],
    ['nodenext', 'nodenext'],
  ] as const) {
    const how = [
      '--module',
      module,
      '--moduleResolution',
      resolution,
      '--target',
      'es2022',
      '--types',
      '',
      '--strict',
      '--noEmit',
    ]
    tsc(work, ...how, 'user.mts')
  }
  rmSync(work, { recursive: true })
})

run()
