// Branches on hosts of a fleet: the numbers of the mode devices, and training goes on when a host is gone.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { hasServer, start, TestFleet } from './fleetOfTest.ts'

const SETTINGS = [
  ...[
    '--dataset',
    'mnist',
    '--train-images',
    '400',
    '--test-images',
    '50',
    '--batch-size',
    '20',
    '--epochs',
    '2',
    '--patch-size',
    '14',
  ],
  ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--branches', '4', '--branch-depth', '1'],
  ...['--dropout', '0.1', '--mode', 'devices', '--save-every', '5'],
]
const { test, run } = suite('branches on hosts of a fleet')
const work = mkdtempSync(join(tmpdir(), 'paraformer-branches-'))
const modelOf = (out: string) => readFileSync(join(work, out, 'model.safetensors')).toString('base64')

if (hasServer()) {
  const names = ['h1', 'h2']
  const fleet = await TestFleet.begin(join(work, 'server'), [
    { name: 'coordinator' },
    ...names.map((name) => ({ name, class: 'cpu' as const })),
  ])
  for (const name of names) await fleet.startWorker(name, join(work, name), ['--branches'])

  test('a step has the bits of the mode devices, however hosts end', async () => {
    const here = await runCli(['train', ...SETTINGS, '--devices', '2', '--out', join(work, 'here')])
    assert.is(here.code, 0, here.stderr)
    const train = start(['train', ...SETTINGS, '--devices', 'here,fleet', ...fleet.flags(), '--out', join(work, 'fleet')])
    // The host that has branches is killed after the first checkpoint; another one takes them.
    const has = (name: string) => fleet.workers.find((worker) => worker.name === name)!
    const begun = async (name: string, times: number) => {
      while (has(name).log.split(' begins').length <= times) {
        assert.is(train.child.exitCode, null, train.stderr())
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    const first = await Promise.race(names.map((name) => begun(name, 1).then(() => name)))
    while (!existsSync(join(work, 'fleet', 'checkpoint.safetensors'))) await new Promise((resolve) => setTimeout(resolve, 5))
    has(first).signal('SIGKILL')
    assert.is(await train.ended, 0, train.stderr())
    assert.match(train.stderr(), /training goes on/)
    assert.is(modelOf('fleet'), modelOf('here'))
  })

  test('ends', () => fleet.end())
}
test('the folder goes', () => rmSync(work, { recursive: true, force: true }))
run()
