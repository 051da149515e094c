import * as assert from 'uvu/assert'
import { difference, PassRun } from '../../bench/streams/passRun.ts'
import { sizesOf } from '../../bench/streams/sizes.ts'
import type { StreamsReport } from '../../bench/streams/streamsReport.ts'
import { makeModels } from '../../bench/streams/workbench.ts'
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`passes of streams on ${device.summary.name}`)

const SIZES = { imageSize: 8, patchSize: 4, dim: 8, heads: 2, dimHead: 4, mlpDim: 8, branches: 2, branchDepth: 1 }

/** Measures a pass of all modes on one device in two rounds. @param onSample called at each sample */
async function measured(
  pass: 'forward' | 'step',
  onSample: (bench: ReturnType<typeof makeModels>) => void,
): Promise<StreamsReport> {
  const bench = makeModels(device, sizesOf('small', SIZES))
  const report = { rows: [], choices: [], failures: [] } as unknown as StreamsReport
  class Watched extends Map {
    override get() {
      onSample(bench)
      return undefined
    }
  }
  const options = { time: 0, minRounds: 2, queue: pass === 'step', clocks: new Watched(), microBatches: [1] }
  await new PassRun({ ...bench, several: undefined }, report, options, { batch: 2, pass }, () => {}).run()
  for (const { model, optimizer } of [bench.paraformer, bench.vit]) {
    optimizer.dispose()
    model.dispose()
  }
  return report
}

for (const pass of ['forward', 'step'] as const) {
  test(`${pass}: values of the timed runs are those of the first`, async () => {
    const { rows, failures } = await measured(pass, () => {})
    assert.equal(failures, [])
    assert.is(rows.length, 6)
    assert.ok(rows.every(({ dispatches }) => dispatches > 0))
  })

  test(`${pass}: a model that changes while it is timed is reported, and has no row`, async () => {
    const { rows, failures } = await measured(pass, ({ paraformer: { model } }) => {
      const { weight } = model.head.linear
      weight.write(new Float32Array(weight.size).fill(3))
    })
    assert.equal(
      rows.map(({ architecture }) => architecture),
      ['vit', 'vit'],
    )
    assert.is(failures.length, 4)
    for (const { reason } of failures) assert.match(reason, /values of the timed runs: off by/)
  })
}

test('values are compared by name: none, others and NaN are no match', () => {
  const values = (entries: Record<string, number[]>) =>
    new Map(Object.entries(entries).map(([k, v]) => [k, Float32Array.from(v)]))
  const expected = values({ logits: [1, 2], norm: [Number.NaN] })
  assert.is(difference(values({ logits: [1, 2] }), expected), 0)
  assert.throws(() => difference(values({}), expected), /nothing to compare with/)
  assert.throws(() => difference(values({ losses: [1] }), expected), /gives losses, which the first of its kind does not/)
  assert.ok(Number.isNaN(difference(values({ norm: [1] }), expected)))
  assert.ok(Number.isNaN(difference(values({ logits: [Number.NaN, 2] }), expected)))
})

test('ends', () => device.destroy())

run()
