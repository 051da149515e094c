// The gradients of a large model over a link that is slow for a while: the server keeps them, and nobody is cut off.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { connectFleet } from '../../train/fleet/connect.ts'
import { suite } from '../harness/suite.ts'
import { Cable, hasServer, TestFleet } from './fleetOfTest.ts'

/** Messages of 1 MB less their heads: more than the 64 MB that nats-server keeps for a user unless it is told. */
const [COUNT, BYTES] = [96, 1_000_000]
/** Milliseconds without a byte: more than nats-server's write deadline of 10 s, less than a client waits for an answer to its pings. */
const HELD = 15_000

const { test, run } = suite('a slow link')

if (hasServer()) {
  test('96 MB that wait for 15 s arrive whole, over the same connection', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paraformer-slow-'))
    const fleet = await TestFleet.begin(folder, [{ name: 'coordinator' }])
    const cable = await Cable.lay(fleet.port)
    const said: string[] = []
    const say = (text: string) => said.push(text)
    const auth = fleet.auth('coordinator')
    const [sender, trainer] = await Promise.all([
      connectFleet({ url: fleet.url, auth }, 'sender', say),
      connectFleet({ url: `nats://127.0.0.1:${cable.port}`, auth }, 'trainer', say),
    ])
    try {
      let bytes = 0
      const all = (async () => {
        let count = 0
        for await (const { data } of trainer.subscribe('paraformer.branches.w1.x.out', { max: COUNT })) {
          bytes += data.length
          assert.is(data[0], count++)
        }
      })()
      await trainer.flush()
      const held = cable.hold(HELD)
      for (let i = 0; i < COUNT; i++) {
        sender.publish('paraformer.branches.w1.x.out', new Uint8Array(BYTES).fill(i))
        await sender.flush()
      }
      await held
      await all
      assert.is(bytes, COUNT * BYTES)
      assert.equal(said, [])
    } finally {
      await sender.close()
      await trainer.close()
      await cable.close()
      await fleet.end()
      rmSync(folder, { recursive: true, force: true })
    }
  })
}
run()
