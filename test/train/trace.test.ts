import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-trace-'))
const { test, run } = suite('train --trace')
const SMALL = '--dim 16 --heads 2 --dim-head 8 --mlp-dim 16 --patch-size 14 --branches 2 --train-images 320 --batch-size 32'

/** Trains for some mini-batches. @returns the dispatches of the trace */
async function traced(steps: number, ...flags: string[]): Promise<{ name: string; ts: number; args: any }[]> {
  const [out, trace] = [join(work, `${flags.join('')}${steps}`), join(work, 'trace.json')]
  const args = ['train', ...SMALL.split(' '), '--test-images', '64', '--out', out, '--trace', trace]
  const { code, stderr } = await runHere([...args, '--max-steps', String(steps), ...flags])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(readFileSync(trace, 'utf8')).traceEvents.filter(({ ph }: { ph: string }) => ph === 'X')
}

for (const mode of ['serial', 'coalesced']) {
  for (const [steps, expected] of [
    [1, 1],
    [4, 4],
    [9, 5],
  ] as const) {
    test(`${expected} of ${steps} mini-batches in mode ${mode}, no evaluation`, async () => {
      const found = await traced(steps, '--mode', mode)
      const updates = found.filter(({ name }) => name === 'adamW')
      assert.is(updates.length, expected)
      // Every update waits for what was written before it.
      assert.ok(updates.every(({ args }) => args.barriers.some((barrier: string) => barrier.startsWith('write after'))))
      const last = updates.at(-1)!.ts
      assert.ok(found.filter(({ ts }) => ts > last).length < 10, 'more than the end of a step follows the last update')
    })
  }
}

test('work that is not captured says what it waits for, too', async () => {
  const found = await traced(6, '--mode', 'serial', '--eager')
  const waiting = found.filter(({ args }) => args.barriers.length > 0).length
  assert.ok(waiting > 0.9 * found.length, `${waiting} of ${found.length} dispatches`)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
