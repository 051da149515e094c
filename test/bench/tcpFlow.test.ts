// The model of a connection against what is known of TCP: flights of a new connection, the rate under losses, probes and timeouts.
import * as assert from 'uvu/assert'
import { predictStep } from '../../bench/fleet/predict.ts'
import { TcpFlow } from '../../bench/fleet/tcpFlow.ts'
import { seededRandom } from '../../kernels/fill.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('the model of a connection')

const SEGMENT = 1448
const slow = { delay: 20, loss: 0, rate: 0 }
const close = (actual: number, expected: number, within: number, what: string) =>
  assert.ok(Math.abs(actual / expected - 1) <= within, `${what}: ${actual}, not ${expected}`)

test('without losses a new connection sends 10 packets, then twice as many in each round trip', () => {
  for (const [packets, trips] of [
    [1, 0],
    [10, 0],
    [11, 1],
    [30, 1],
    [31, 2],
    [70, 2],
  ] as const)
    assert.is(new TcpFlow(slow, () => 1).send(5, packets * SEGMENT), 5 + 20 + 40 * trips, `${packets} packets`)
})

test('the window stays from message to message, in pauses too', () => {
  const flow = new TcpFlow(slow, () => 1)
  const now = flow.send(0, 200 * SEGMENT)
  assert.is(flow.send(now + 60_000, 100 * SEGMENT) - now - 60_000, 20)
})

test('a limit of the rate bounds large messages', () => {
  const flow = new TcpFlow({ ...slow, rate: 8 }, () => 1)
  close(flow.send(0, 1e6) - 20, (1e6 / SEGMENT) * 1.5, 0.05, '1 MB at 8 Mbit/s, in ms')
})

test('with losses large messages come at about the rate of Mathis: segment / round trip * sqrt(1.5 / loss)', () => {
  for (const loss of [0.005, 0.01, 0.03]) {
    const flow = new TcpFlow({ ...slow, loss }, seededRandom(3))
    const bytes = 3e6
    // The first flights of a connection are faster.
    const begins = flow.send(0, bytes)
    close(
      bytes / (flow.send(begins + 20, bytes) - begins - 20),
      (SEGMENT / 40) * Math.sqrt(1.5 / loss),
      0.3,
      `bytes a ms at ${loss}`,
    )
  }
})

/** Loses the packets of these numbers, in the order of sending, and no acknowledgements. */
function losing(...lost: number[]): () => number {
  let [sent, isAck] = [0, false]
  return () => {
    if (isAck) {
      isAck = false
      return 1
    }
    const arrives = !lost.includes(sent++)
    isAck = arrives
    return arrives ? 1 : 0
  }
}

test('a packet in the middle costs a round trip, the last one a probe, a lonely one a timeout', () => {
  const time = (packets: number, ...lost: number[]) =>
    new TcpFlow({ ...slow, loss: 0.5 }, losing(...lost)).send(0, packets * SEGMENT)
  assert.is(time(8), 20)
  // It is missed when the acknowledgement of a packet after it arrives, at 40 ms.
  close(time(8, 2), 60, 0.01, 'the third of eight')
  // A probe comes two round trips after the last acknowledgement, and what it shows to be lost is sent again; for a lone packet it comes later.
  close(time(8, 6, 7), 40 + 82 + 40 + 20, 0.01, 'the last two of eight')
  close(time(8, 7), 40 + 240 + 20, 0.01, 'the last of eight')
  close(time(1, 0), 240 + 20, 0.01, 'the only one')
  // The probe is lost too.
  close(time(1, 0, 1), 2 * 240 + 20, 0.01, 'the only one, twice')
})

test('a step is the local one without delay and losses, and two round trips longer with a delay', () => {
  const phases = [
    { down: 3000, up: 3000 },
    { down: 3000, up: 3000 },
  ]
  close(predictStep(100, phases, 2, { delay: 0, loss: 0, rate: 0 }).mean, 100, 1e-9, 'the local step')
  close(predictStep(100, phases, 2, slow).median, 180, 1e-9, 'two round trips')
})

run()
