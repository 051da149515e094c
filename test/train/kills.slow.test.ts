import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from '../harness/suite.ts'
import { smallDisk } from './fullDisk.ts'
import { killRuns } from './kills.ts'

/** Number of kills; PARAFORMER_KILLS=20 node test/run.mjs test/train/kills.slow.test.ts gives a first look. */
const KILLS = Number(process.env.PARAFORMER_KILLS ?? 200)

const work = mkdtempSync(join(tmpdir(), 'paraformer-kills-'))
const { test, run } = suite('killed runs')

test(`${KILLS} kills of trainers and workers, in training, evaluation, saving and resuming, lose nothing, and no race is won twice`, async () => {
  const report = await killRuns(work, KILLS)
  console.log(JSON.stringify(report, null, 1))
  if (!(report.races >= KILLS / 2)) throw new Error(`only ${report.races} races`)
})

test('nor do kills on a disk that fills and frees all the time', async () => {
  const disk = smallDisk(join(work, 'disk'), 400)
  // Only root can mount a disk.
  if (!disk) return
  try {
    mkdirSync(join(work, 'full'))
    const report = await killRuns(join(work, 'full'), Math.ceil(KILLS / 8), disk)
    console.log(JSON.stringify(report, null, 1))
  } finally {
    disk.remove()
  }
})

test('ends', () => rmSync(work, { recursive: true }))
run()
