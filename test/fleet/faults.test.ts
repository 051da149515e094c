// A study over a fleet loses no run and does none twice, whatever ends in between, and its results are those of one machine to the bit.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from '../harness/suite.ts'
import { studyWithFaults } from './faults.ts'
import { hasServer } from './fleetOfTest.ts'

const { test, slow, run } = suite('faults of a fleet')

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-fleet-'))
  try {
    await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (hasServer()) {
  test('a fault of each kind leaves the results of one machine', () =>
    inFolder((folder) =>
      studyWithFaults(folder, { workers: 2, faults: 4, every: 3000, seed: 1, text: { seeds: '[1]', tiny: { epochs: 12 } } }),
    ))

  slow('30 faults while 4 workers do 60 runs leave the results of one machine', () =>
    inFolder((folder) =>
      studyWithFaults(folder, {
        ...{ workers: 4, faults: 30, every: 5000, seed: 2 },
        text: { tiny: { epochs: 4 }, seeds: `[${Array.from({ length: 30 }, (_, i) => i + 1)}]` },
      }),
    ),
  )
}
run()
