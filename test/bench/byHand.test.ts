import * as assert from 'uvu/assert'
import type { ByHandRow } from '../../bench/byHand/byHand.ts'
import { runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('attention beside products by hand')

test('both ways are compared and timed at every shape', async () => {
  const { code, stdout, stderr } = await runHere(['bench', 'byHand', '--quick', '--json', '--shapes', '1x2x9x8'])
  assert.is(code, 0, stderr)
  const rows = JSON.parse(stdout) as ByHandRow[]
  assert.equal(
    rows.map(({ shape, pass }) => `${shape.join('x')} ${pass}`),
    ['1x2x9x8 forward', '1x2x9x8 with gradients'],
  )
  assert.ok(rows.every(({ fused, byHand, ratio }) => fused > 0 && byHand > 0 && ratio > 0))
})

test('a shape that is none is refused', async () => {
  const { code, stderr } = await runHere(['bench', 'byHand', '--shapes', '1x2x9'])
  assert.is(code, 2)
  assert.match(stderr, /four whole numbers/)
})
run()
