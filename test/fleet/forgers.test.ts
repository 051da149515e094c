// A worker with credentials that changes what others did is noticed, and the run is done again.
import * as assert from 'uvu/assert'
import { NullMachine } from '../../bench/fleet/nullMachine.ts'
import { NullWorkers, nullKey } from '../../bench/fleet/nullWorkers.ts'
import { changeClaim, readClaim } from '../../train/fleet/claim.ts'
import { connectFleet } from '../../train/fleet/connect.ts'
import type { Claim, StoredFile } from '../../train/fleet/messages.ts'
import { claimKey, RECORDS, recordSubject } from '../../train/fleet/names.ts'
import { writeRecord } from '../../train/fleet/records.ts'
import { storeFiles } from '../../train/fleet/runFiles.ts'
import { FleetStore } from '../../train/fleet/store.ts'
import { suite } from '../harness/suite.ts'
import { hasServer, type TestFleet } from './fleetOfTest.ts'
import { BYTES, checkFiles, inFleet, pause, study } from './nullStudies.ts'

const { test, run } = suite('forgers in a fleet')
const FOLDER = 'null-tiny'

/** Opens the fleet with the credentials of worker w2, which is up to no good. */
async function forger(fleet: TestFleet): Promise<{ store: FleetStore; refusals: string[] }> {
  const connection = await connectFleet({ url: fleet.url, auth: fleet.auth('w2') }, 'w2', () => {})
  const refusals: string[] = []
  void (async () => {
    for await (const event of connection.status()) if (event.type === 'error') refusals.push(event.error.message)
  })()
  return { store: await FleetStore.open(connection, false), refusals }
}

/** Stores a result of another content, as a worker stores its own. */
function otherFiles(store: FleetStore, key: string, object = 'other'): Promise<StoredFile[]> {
  const read = async () => ({ size: 3, data: new Blob(['bad']).stream() })
  return storeFiles(store.files, { read }, ['model.safetensors', 'run.json'], `${FOLDER}/${key}/${object}`)
}

if (hasServer()) {
  test('results and checkpoints that another worker changed are noticed, and the runs done again', () =>
    inFleet(2, async (fleet, store, folder) => {
      const keys = [0, 1, 2, 3, 4].map(nullKey)
      const claimOf = async (key: string) => (await readClaim(store.claims, claimKey(FOLDER, key)))!.claim
      const crew = new NullWorkers()
      const machine = new NullMachine({ duration: () => 20, bytes: BYTES })
      await crew.start(
        fleet.url,
        (name) => fleet.auth(name),
        ['w1'],
        () => machine,
      )
      // The runs are done while nobody waits for them.
      const first = await study(store, folder, 0, 4)
      while (!(await claimOf(keys[3]!).catch(() => undefined))) await pause(20)
      first.ends.abort()
      await Promise.all(first.outcomes)
      await first.dispatcher.close()
      const { store: evil, refusals } = await forger(fleet)
      const change = (key: string, to: (before: Claim) => Claim) =>
        changeClaim(evil.claims, claimKey(FOLDER, key), (before) => (before ? to(before) : undefined))
      for (const key of keys.slice(0, 4)) while ((await claimOf(key)).state !== 'done') await pause(20)
      // In the name of w1, in its own name, by other content under the same name, and without content.
      const files = await otherFiles(evil, keys[0]!)
      await change(keys[0]!, (before) => ({ ...before, result: { ...before.result!, files } }))
      const own = { worker: 'w2', attempt: 2, files: await otherFiles(evil, keys[1]!), check: undefined }
      const record = await writeRecord(evil, { folder: FOLDER, key: keys[1]! }, own)
      await change(keys[1]!, (before) => ({ ...before, worker: 'w2', attempt: 2, result: { ...own, record } }))
      const { result } = await claimOf(keys[2]!)
      await otherFiles(evil, keys[2]!, result!.files[0]!.object.split('/').slice(2, -1).join('/'))
      for (const { object } of (await claimOf(keys[3]!)).result!.files) await evil.files.delete(object)
      const notes: string[] = []
      const second = await study(store, folder, 0, 4, notes)
      assert.ok((await Promise.all(second.outcomes)).every(({ how }) => how === 'done'))
      await second.dispatcher.close()
      checkFiles(folder, 0, 4)
      const said = notes.sort().map((text) => text.replace(/^.*again: /, ''))
      assert.is(said.length, 4, notes.join('\n'))
      assert.match(notes.join('\n'), /is done again: what the entry says about attempt 1 of w1 is not what w1 recorded/)
      assert.match(notes.join('\n'), /is done again: w2 and w1 both say that they did it, with different models/)
      assert.match(notes.join('\n'), /is done again: .*is another file than the one that was stored/)
      assert.match(notes.join('\n'), /is done again: .*is not in the object store any more/)
      await crew.stop()

      // A checkpoint of the same kind.
      const third = await study(store, folder, 4, 1, notes)
      while (!(await claimOf(keys[4]!).catch(() => undefined))) await pause(20)
      const saved = { worker: 'w1', attempt: 1, device: 'null', step: 1, record: 1, files: await otherFiles(evil, keys[4]!) }
      await change(keys[4]!, (before) => ({ ...before, attempt: 1, saved }))
      const others = new NullWorkers()
      await others.start(
        fleet.url,
        (name) => fleet.auth(name),
        ['w1'],
        () => machine,
      )
      assert.ok((await Promise.all(third.outcomes)).every(({ how }) => how === 'done'))
      await third.dispatcher.close()
      checkFiles(folder, 4, 1)
      assert.match(others.notes.join('\n'), /begins anew, since its checkpoint cannot be used: w1 has no record/)
      await others.stop()

      // The server itself refuses what would hide it.
      const before = refusals.length
      const kept = await store.streams.publish(recordSubject('w1', FOLDER, keys[0]!), '{}')
      evil.connection.publish(recordSubject('w1', FOLDER, keys[0]!), '{}')
      for (const what of ['MSG.DELETE', 'PURGE', 'DELETE', 'UPDATE'])
        evil.connection.publish(`$JS.API.STREAM.${what}.${RECORDS}`, JSON.stringify({ seq: kept.seq }))
      await evil.connection.flush()
      await pause(200)
      assert.is(refusals.length - before, 5, refusals.join('\n'))
      assert.is((await store.manager.streams.getMessage(RECORDS, { seq: kept.seq }))?.string(), '{}')
      await evil.close()
    }))
}
run()
