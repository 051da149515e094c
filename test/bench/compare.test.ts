// The peer in these tests is our own library with one change, which a comparison must find.

import { prepareOurs } from '../../bench/ours.ts'
import { disposeAll, type Output } from '../../bench/outputs.ts'
import { compareOn, compareValues } from '../../bench/peers/compare.ts'
import type { Peer, PeerRun } from '../../bench/peers/peer.ts'
import type { Workload } from '../../bench/workloads.ts'
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`a comparison on ${device.summary.name}`)
const budget = { warmup: 0, time: 1, minSamples: 2 }

const SOFTMAX: Workload = { kind: 'softmax', rows: 7, n: 33 }
const STEP: Workload = { kind: 'mlpStep', batch: 12, inputs: 30, hidden: 18, classes: 5 }

function peerThat(changes: (run: PeerRun) => Partial<PeerRun>): Peer {
  return {
    name: 'ours again',
    device: device.gpu,
    async prepare(w, operands) {
      const running = prepareOurs(device, w, operands)
      let last: readonly Output[] = []
      const run: PeerRun = {
        run() {
          disposeAll(last)
          last = running.record()
        },
        last: () => last[0]!.data(),
        done: () => device.synchronize(),
        values: running.values,
        dispose() {
          disposeAll(last)
          running.dispose()
        },
      }
      return { ...run, ...changes(run) }
    },
  }
}

for (const w of [SOFTMAX, STEP]) {
  test(`${w.kind}: two that do the same`, async () => {
    const { ours, theirs, difference, rounds } = await compareOn(
      device,
      peerThat(() => ({})),
      w,
      budget,
    )
    if (!(ours.median > 0 && theirs.median > 0 && difference === 0 && rounds >= 2))
      throw new Error(JSON.stringify({ ours, theirs }))
  })
}

const WRONG: [what: string, w: Workload, changes: (run: PeerRun) => Partial<PeerRun>, message: RegExp][] = [
  ['gives nothing that ours does', SOFTMAX, () => ({ values: async () => ({}) }), /it gives no out/],
  ['gives NaN', SOFTMAX, () => ({ values: async () => ({ out: new Float32Array(231).fill(Number.NaN) }) }), /differ.*by NaN/],
  ['times zeros', SOFTMAX, () => ({ last: async () => new Float32Array(231) }), /output 1 is nothing but zeros/],
  ['times NaN', SOFTMAX, () => ({ last: async () => new Float32Array(231).fill(Number.NaN) }), /output 1 has NaN/],
  ['times other values', SOFTMAX, () => ({ last: async () => new Float32Array(231).fill(1) }), /the last timed run, from ours/],
  ['never steps', STEP, () => ({ run: () => {}, last: async () => [1] }), /its steps left loss and gradients as they were/],
]
for (const [what, w, changes, message] of WRONG) {
  test(`one that ${what} is no peer`, async () => {
    const found = await compareOn(device, peerThat(changes), w, budget).catch((error: Error) => error.message)
    if (typeof found !== 'string' || !message.test(found)) throw new Error(`said ${JSON.stringify(found)}`)
  })
}

test('values of ours that are NaN are no match for anything', () => {
  for (const [mine, other] of [
    [{ loss: [Number.NaN] }, { loss: [1] }],
    [{ loss: [Number.NaN] }, { loss: [Number.NaN] }],
    [
      { loss: [1], 'fc1.bias': [Number.NaN, 1] },
      { loss: [1], 'fc1.bias': [5, 1] },
    ],
    [{}, { loss: [1] }],
    [{ loss: [] }, { loss: [] }],
  ] as [Record<string, number[]>, Record<string, number[]>][]) {
    let message: string | undefined
    try {
      compareValues(STEP, {}, mine, other)
    } catch (error) {
      message = (error as Error).message
    }
    if (message === undefined) throw new Error(`${JSON.stringify([mine, other])} passed`)
  }
})

test('ends', () => device.destroy())

run()
