import { doBench } from '../../bench/doBench.ts'
import { kernelTargets } from '../../bench/kernelTargets.ts'
import { layerTargets, modelTargets } from '../../bench/modelTargets.ts'
import { checkComputed, disposeAll } from '../../bench/outputs.ts'
import { idOf, type Target } from '../../bench/target.ts'
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`targets on ${device.summary.name}`)

/** Largest ratio of executed to counted operations: norms, activations, recomputed scores and the optimizer are not counted. */
const BESIDE = 2.2

for (const target of [...layerTargets(1), ...modelTargets(1)].filter(({ shape }) => shape.startsWith('quick'))) {
  test(`${idOf(target)} does the work that it counts, replayed and op by op, and gives what it computes`, async () => {
    const prepared = target.prepare(device)
    for (const record of [prepared.record, prepared.record, prepared.ops]) {
      const before = device.counts.dispatches
      const outputs = record()
      const values = await Promise.all(outputs.map((output) => output.data()))
      checkComputed(values)
      await prepared.confirm(values)
      disposeAll(outputs)
      if (device.counts.dispatches === before) throw new Error('nothing was dispatched')
    }
    const share = prepared.executed() / target.flops
    if (!(share >= 1 && share <= BESIDE)) throw new Error(`executes ${share} times what it counts`)
    prepared.dispose()
  })
}

/** Largest sum of operations and bytes of a target to check: larger ones take long on a software device. */
const SMALL = 2e7
/** Whether only a small target of each kernel is checked, and not one of each shape that is timed. */
const few = globalThis.process?.env.PARAFORMER_PIPELINES !== undefined

const workOf = ({ flops, bytes }: Target) => flops + bytes
const chosen = new Map<string, Target>()
for (const target of kernelTargets(device.capabilities, few).filter((candidate) => workOf(candidate) <= SMALL)) {
  const key = few ? target.name : `${target.name} ${target.shape}`
  const known = chosen.get(key)
  // Of the variants of a case the first one is checked.
  if (!known || workOf(target) < workOf(known)) chosen.set(key, target)
}
for (const target of chosen.values()) {
  test(`${idOf(target)} gives what its reference does, and again after several runs`, async () => {
    const prepared = target.prepare(device)
    await prepared.check()
    await doBench(device, prepared.record, { warmup: 0, time: 1, minSamples: 2, confirm: prepared.confirm })
    prepared.dispose()
  })
}

test('most kernels are among them', () => {
  const names = new Set([...chosen.values()].map(({ name }) => name))
  if (names.size < 30) throw new Error(`only ${[...names].join(', ')}`)
})

test('ends', () => device.destroy())

run()
