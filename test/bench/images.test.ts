import * as assert from 'uvu/assert'
import { runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('paraformer bench images')

test('--json has the rates of host and device, which make the same bits', async () => {
  const small = ['--from', '8', '--size', '12', '--batch', '4', '--operations', '1']
  const { code, stdout, stderr } = await runHere(['bench', 'images', '--quick', '--json', ...small])
  assert.is(code, 0, stderr)
  const { rows, overHost, rounds } = JSON.parse(stdout)
  assert.is(rounds, 1)
  assert.equal(
    rows.map(({ made }: { made: string }) => made),
    ['host, a thread', 'device'],
  )
  for (const { rate } of rows) assert.ok(rate.median > 0)
  assert.ok(overHost.median > 0)
})

run()
