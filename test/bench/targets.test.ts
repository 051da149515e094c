import { layerTargets, modelTargets } from '../../bench/modelTargets.ts'
import { checkComputed, disposeAll } from '../../bench/outputs.ts'
import { idOf } from '../../bench/target.ts'
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`targets on ${device.summary.name}`)

/** Operations beside the matrix products that are counted: norms, activations, scores computed again for backward, the optimizer. */
const BESIDE = 2.2

for (const target of [...layerTargets(1), ...modelTargets(1)].filter(({ shape }) => shape.startsWith('quick'))) {
  test(`${idOf(target)} does the work that it counts, replayed and op by op, and gives what it computes`, async () => {
    const prepared = target.prepare(device)
    for (const record of [prepared.record, prepared.record, prepared.ops]) {
      const before = device.counts.dispatches
      const outputs = record()
      const values = await Promise.all(outputs.map((one) => one.data()))
      checkComputed(values)
      prepared.confirm(values)
      disposeAll(outputs)
      if (device.counts.dispatches === before) throw new Error('nothing was dispatched')
    }
    const share = prepared.executed() / target.flops
    if (!(share >= 1 && share <= BESIDE)) throw new Error(`executes ${share} times what it counts`)
    prepared.dispose()
  })
}

test('ends', () => device.destroy())

run()
