// A study that is killed and run again loses no run, does none twice, and ends with the bits of one that is not killed.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from '../harness/suite.ts'
import { killStudy } from './kills.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-study-kills-'))
const { test, run } = suite('killed studies')

// kills.slow.test.ts does the same with all signals, ten kills and two arms.
test('kills at random moments leave the results of an undisturbed study', () =>
  killStudy(work, 2, 1, { arms: "{ every: { settings: { scheme: 'prefixSum' } } }" }))

test('ends', () => rmSync(work, { recursive: true }))
run()
