import { measureCeilings } from '../../bench/ceilings.ts'
import { doBench } from '../../bench/doBench.ts'
import { CacheFlush } from '../../bench/flush.ts'
import { kernelTargets } from '../../bench/kernelTargets.ts'
import { rates, runBench } from '../../bench/runBench.ts'
import type { Target } from '../../bench/target.ts'
import { Profiler, requestDevice, zeros } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`measuring on ${device.summary.name}`)
const budget = { warmup: 0, time: 5, least: 2 }
const profiler = device.gpu.features.has('timestamp-query') ? new Profiler(device.gpu) : undefined
const small = kernelTargets(device.capabilities).find(({ name }) => name === 'softmax')!

test("the host's clock", async () => {
  const x = zeros([64, 64])
  const timing = await doBench(device, () => x.add(1).dispose(), budget)
  const { median, p20, p80, samples, timer } = timing
  if (!(p20 > 0 && p20 <= median && median <= p80 && samples >= 2 && timer === 'wall')) throw new Error(JSON.stringify(timing))
  x.dispose()
})

if (profiler) {
  test("the device's clock, one sample a run, the emptying of the caches not counted", async () => {
    const x = zeros([64, 64])
    let runs = 0
    const flush = new CacheFlush(device)
    const record = () => {
      runs++
      x.add(1).mul(2).dispose()
    }
    const { median, samples, timer } = await doBench(device, record, { ...budget, profiler, flush: flush.record })
    // Once to compile, once to warm up, once to count its dispatches.
    if (timer !== 'device' || samples !== runs - 3 || !(median > 0))
      throw new Error(`${timer}, ${samples} of ${runs}, ${median}`)
    if (device.profiler) throw new Error('the profiler is still set')
    flush.dispose()
    x.dispose()
  })
}

test('ceilings are positive and finite', async () => {
  const ceilings = await measureCeilings(device, budget, profiler)
  const { gflops, gbps, readback, dispatch, submit } = ceilings
  const good = [gflops, gbps, readback].every((value) => value > 0 && Number.isFinite(value)) && dispatch >= 0 && submit >= 0
  if (!good) throw new Error(JSON.stringify(ceilings))
})

test('the share of the ceiling is the least possible time over the median', () => {
  const ceilings = { gflops: 100, gbps: 10, dispatch: 50, submit: 5, readback: 9 }
  const compute = rates({ flops: 1e9, bytes: 1e6, single: true }, { median: 20, timer: 'device' }, ceilings)
  if (compute.bound !== 'compute' || compute.share !== 0.5 || compute.gflops !== 50) throw new Error(JSON.stringify(compute))
  const memory = rates({ flops: 1e6, bytes: 1e8, single: true }, { median: 40, timer: 'wall' }, ceilings)
  if (memory.bound !== 'memory' || memory.share !== 0.25 || memory.gbps !== 2.5) throw new Error(JSON.stringify(memory))
  const tiny = { flops: 10, bytes: 10, single: true }
  const dispatch = rates(tiny, { median: 0.1, timer: 'wall' }, ceilings)
  if (dispatch.bound !== 'dispatch' || dispatch.share !== 0.5) throw new Error(JSON.stringify(dispatch))
  if (rates(tiny, { median: 0.1, timer: 'device' }, ceilings).bound === 'dispatch')
    throw new Error('no clock of the device sees it')
})

test('wrong values are reported and not timed, and the others go on', async () => {
  const wrong: Target = {
    ...small,
    variant: 'wrong',
    prepare: () => ({
      record: () => {
        throw new Error('was timed')
      },
      check: async () => {
        throw new Error('off by 1')
      },
      dispose: () => {},
    }),
  }
  const { results, failures } = await runBench(device, [wrong, small], { budget, flush: false })
  if (failures.length !== 1 || failures[0]!.reason !== 'off by 1') throw new Error(JSON.stringify(failures))
  if (results.length !== 1 || !(results[0]!.error <= 1e-5)) throw new Error(JSON.stringify(results))
})

test('a kernel that gives wrong values fails its check', async () => {
  const prepared = small.prepare(device)
  const { dispatch } = device
  // Nothing runs, so the output keeps its poison.
  device.dispatch = () => {}
  try {
    const found = await prepared.check().catch((error: Error) => error.message)
    if (typeof found !== 'string' || !found.includes('off by NaN')) throw new Error(`said ${found}`)
  } finally {
    device.dispatch = dispatch
    prepared.dispose()
  }
})

test('ends', () => device.destroy())

run()
