import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from '../harness/suite.ts'
import { killRuns } from './kills.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-kills-'))
const { test, run } = suite('killed runs')

// kills.slow.test.ts does the same with 200 kills.
test('runs that are killed twice while two processes want their folder end with the bits of runs that are not', async () => {
  const { races } = await killRuns(work, 2)
  if (!(races >= 1)) throw new Error(`only ${races} races`)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
