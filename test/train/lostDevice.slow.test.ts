// Modes that lostDevice.test.ts leaves out, since opening devices takes long.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'
import { EVERYWHERE, FROM, goesOn, type How } from './losses.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-lost-'))
const { test, run } = suite('lost devices in every mode')

const requested = await requestDevice()
requested.destroy()

for (const [name, how] of Object.entries({
  serial: { mode: 'serial' },
  eager: { mode: 'serial', eager: true },
  streams: { mode: 'streams' },
  coalesced: { mode: 'coalesced' },
  ...(requested.capabilities.f16 ? { mixed: { mode: 'coalesced', precision: 'mixed' } } : {}),
} satisfies Record<string, How>)) {
  test(`${name}: a run that loses its device 6 times ends with the same bits`, () => goesOn(work, name, how, EVERYWHERE, FROM))
}

test('ends', () => rmSync(work, { recursive: true }))
run()
