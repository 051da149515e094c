// Runs get through a queue whose server is killed again and again, and through a dispatcher that is: each once, and nothing of them stays behind.
import * as assert from 'uvu/assert'
import { NullMachine } from '../../bench/fleet/nullMachine.ts'
import { NullWorkers, nullKey } from '../../bench/fleet/nullWorkers.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { claimKey, QUEUE, RECORDS, recordSubject, runSubject } from '../../train/fleet/names.ts'
import { cancelStudy } from '../../train/fleet/overview.ts'
import { suite } from '../harness/suite.ts'
import { hasServer } from './fleetOfTest.ts'
import { BYTES, checkFiles, inFleet, pause, queued, stored, study } from './nullStudies.ts'

const { test, slow, run } = suite('the queue of a fleet')
/** Milliseconds after the last kill in which all runs must end. */
const PATIENCE = 300_000

async function killsOfServer(workers: number, runs: number, kills: number): Promise<void> {
  await inFleet(workers, async (fleet, store, folder) => {
    const crew = new NullWorkers()
    let done = 0
    const duration = (key: string) => 100 + (Number.parseInt(key.slice(-4), 16) % 7) * 60
    const machine = new NullMachine({ duration, bytes: BYTES, saveEvery: 150, onDone: () => done++ })
    await crew.start(
      fleet.url,
      (name) => fleet.auth(name),
      fleet.names,
      () => machine,
    )
    const notes: string[] = []
    const { dispatcher, outcomes } = await study(store, folder, 0, runs, notes)
    let over = false
    const all = Promise.all(outcomes).finally(() => {
      over = true
    })
    let killed = 0
    for (; killed < kills && !over; killed++) {
      await pause(500 + new CounterRandom(7, [killed, 0, 0]).below(3000))
      await fleet.restart(100)
    }
    const last = performance.now()
    const ended = await all
    const logs = () => [...notes, ...crew.notes].join('\n')
    // What was sent to a server that was killed is given up and sent again.
    assert.ok(
      performance.now() - last < PATIENCE,
      `the last run ended ${performance.now() - last} ms after the last kill\n${logs()}`,
    )
    assert.equal(
      ended.filter(({ how }) => how !== 'done'),
      [],
      logs(),
    )
    checkFiles(folder, 0, runs)
    await dispatcher.close()
    assert.is(await queued(store), 0, `the queue after ${killed} kills\n${logs()}`)
    assert.equal(await stored(store), [], 'the files')
    assert.not.match(logs(), /is done again/)
    await crew.stop()
  })
}

if (hasServer()) {
  test('a server that is killed 3 times loses no run and keeps none', () => killsOfServer(4, 40, 3))
  slow('a server that is killed 30 times loses no run and keeps none', () => killsOfServer(6, 400, 30))

  test('a study that is killed and started again, canceled and given again goes on', () =>
    inFleet(2, async (fleet, store, folder) => {
      const crew = new NullWorkers()
      let begun = 0
      const machine = new NullMachine({ duration: () => 150, bytes: BYTES, onBegun: () => begun++ })
      // Nobody takes what is given first; then the dispatcher is gone without a word.
      const other = await fleet.open()
      const first = await study(other, folder, 0, 12)
      while ((await queued(store)) < 12) await pause(20)
      await crew.start(
        fleet.url,
        (name) => fleet.auth(name),
        ['w1'],
        () => machine,
      )
      await Promise.race(first.outcomes)
      await other.connection.close()
      first.ends.abort()
      await Promise.all(first.outcomes)
      await first.dispatcher.close()
      const second = await study(store, folder, 0, 12)
      assert.ok((await Promise.all(second.outcomes)).every(({ how }) => how === 'done'))
      await second.dispatcher.close()
      checkFiles(folder, 0, 12)
      assert.ok(begun <= 14, `${begun} runs were begun for 12`)
      // A study that is taken out ends, what others gave waits on, and the same runs can be given again.
      await crew.stop()
      const third = await study(store, folder, 20, 5)
      const beside = runSubject({ class: 'cpu' }, 'other-tiny', 'x')
      while ((await queued(store)) < 5) await pause(20)
      await store.streams.publish(beside, 'refused, since it is none')
      await cancelStudy(store, 'null-tiny')
      assert.equal(new Set((await Promise.all(third.outcomes)).map((end) => end.how === 'failed' && end.message)).size, 1)
      await third.dispatcher.close()
      assert.is(await queued(store), 1)
      const again = new NullWorkers()
      await again.start(
        fleet.url,
        (name) => fleet.auth(name),
        ['w2'],
        () => machine,
      )
      const fourth = await study(store, folder, 20, 5)
      assert.ok((await Promise.all(fourth.outcomes)).every(({ how }) => how === 'done'))
      await fourth.dispatcher.close()
      checkFiles(folder, 20, 5)
      assert.is(await queued(store), 0)
      assert.ok(again.notes.some((text) => text.includes('refused: message')))
      await again.stop()
    }))

  test('a message that is lost is offered again, and one that nobody is offered any more is taken out', () =>
    inFleet(1, async (fleet, store, folder) => {
      const { dispatcher, outcomes } = await study(store, folder, 0, 3)
      while ((await queued(store)) < 3) await pause(20)
      // One message is gone, and the consumer counts another one as done: a worker without manners acknowledges for others.
      await store.manager.streams.deleteMessage(QUEUE, 1)
      await store.manager.consumers.delete(QUEUE, 'runs-cpu')
      const crew = new NullWorkers()
      const machine = new NullMachine({ duration: () => 10, bytes: BYTES })
      await crew.start(
        fleet.url,
        (name) => fleet.auth(name),
        ['w1'],
        () => machine,
      )
      assert.ok((await Promise.all(outcomes)).every(({ how }) => how === 'done'))
      // A server that was killed brings a message back.
      await store.streams.publish(runSubject({ class: 'cpu' }, 'null-tiny', nullKey(0)), 'a ghost')
      await dispatcher.close()
      assert.is(await queued(store), 0)
      await crew.stop()
    }))

  test('records: four of a worker stay, and what others recorded is untouched', () =>
    inFleet(1, async (_fleet, store) => {
      const subject = recordSubject('w1', 'null-tiny', nullKey(0))
      await store.streams.publish(recordSubject('w2', 'null-tiny', nullKey(0)), '{}')
      for (let i = 0; i < 9; i++) await store.streams.publish(subject, `${i}`)
      const { state } = await store.manager.streams.info(RECORDS)
      assert.is(state.messages, 5)
      assert.is((await store.manager.streams.getMessage(RECORDS, { last_by_subj: subject }))?.string(), '8')
      assert.is(await store.claims.get(claimKey('null-tiny', nullKey(0))), null)
    }))
}
run()
