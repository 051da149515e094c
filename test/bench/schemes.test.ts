import * as assert from 'uvu/assert'
import type { SchemesReport } from '../../bench/schemes/schemes.ts'
import { BRANCH_SCHEMES } from '../../train/schemes/index.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('paraformer bench schemes')

const SIZES = '--image-size 8 --patch-size 4 --dim 8 --heads 2 --dim-head 4 --mlp-dim 8 --branches 3 --branch-depth 1'.split(
  ' ',
)
const SMALL = ['bench', 'schemes', '--quick', '--batch', '2', ...SIZES]

test('--json has every scheme, with the steps and operations of a mini-batch', async () => {
  const { code, stdout, stderr } = await runHere([...SMALL, '--json'])
  assert.is(code, 0, stderr)
  const report: SchemesReport = JSON.parse(stdout)
  assert.equal(
    report.rows.map(({ scheme }) => scheme),
    BRANCH_SCHEMES,
  )
  const row = (name: string) => report.rows.find(({ scheme }) => scheme === name)!
  for (const { scheme, time, overJoint, error } of report.rows) {
    assert.ok(error < 1e-4 && time.median > 0 && overJoint.time.median > 0 && overJoint.flops > 0, scheme)
    assert.is(row(scheme).updates, scheme === 'paper' ? 4 : 1)
  }
  assert.is(row('joint').overJoint.time.median, 1)
  assert.is(row('joint').overJoint.flops, 1)
  // Stem and head are small beside branches: m (m + 3) / 2 branches against m, and (m + 1) / 2 on average.
  assert.ok(Math.abs(row('paper').overJoint.flops - 3) < 0.4, `paper ${row('paper').overJoint.flops}`)
  assert.ok(Math.abs(row('randomPrefix').overJoint.flops - 2 / 3) < 0.1, `randomPrefix ${row('randomPrefix').overJoint.flops}`)
})

test('a table names every scheme', async () => {
  const { code, stdout } = await runHere([...SMALL, '--mode', 'serial'])
  assert.is(code, 0)
  for (const name of BRANCH_SCHEMES) assert.match(stdout, new RegExp(`^ *${name} +\\d`, 'm'))
})

test('a bad mode, batch or size is one line', async () => {
  await expectUserError([...SMALL, '--mode', 'fast'], /--mode/)
  await expectUserError([...SMALL, '--batch', '0'], /--batch/)
  await expectUserError([...SMALL, '--patch-size', '5'], /patchSize|patch-size|patches/)
})

run()
