import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CeilingGauge } from '../../bench/ceilings.ts'
import { doBench } from '../../bench/doBench.ts'
import { CacheFlush } from '../../bench/flush.ts'
import { appendHistory, previousTimes } from '../../bench/history.ts'
import { htmlReport } from '../../bench/html.ts'
import { kernelTargets } from '../../bench/kernelTargets.ts'
import { checkComputed, type Outputs } from '../../bench/outputs.ts'
import { type Replayed, replayed } from '../../bench/replayed.ts'
import { compare, textReport } from '../../bench/report.ts'
import { rates, runBench } from '../../bench/runBench.ts'
import type { Target } from '../../bench/target.ts'
import { capture, ones, Profiler, requestDevice, scope, type Tensor, tensor, zeros } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`measuring on ${device.summary.name}`)
const budget = { warmup: 0, time: 5, minSamples: 2 }
const profiler = device.gpu.features.has('timestamp-query') ? new Profiler(device.gpu) : undefined
const small = kernelTargets(device.capabilities).find(({ name }) => name === 'softmax')!

/** Lets tests pass a `record` that the type checker would reject. */
const anything = (record: () => unknown) => record as () => Outputs

async function failure(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

test("the host's clock; the last run's values are read, and nothing stays", async () => {
  const x = tensor(Float32Array.from({ length: 4096 }, (_, i) => i))
  const before = device.memory.liveBytes
  let seen: ArrayLike<number>[] = []
  const confirm = (values: readonly ArrayLike<number>[]) => {
    seen = [...values]
  }
  const timing = await doBench(device, () => [x.add(1), x.mul(2)], { ...budget, confirm })
  const { median, p20, p80, samples, timer, fastest } = timing
  const ordered = fastest > 0 && fastest <= p20 && p20 <= median && median <= p80
  if (!(ordered && samples >= 2 && timer === 'wall')) throw new Error(JSON.stringify(timing))
  if (seen.length !== 2 || seen[0]![10] !== 11 || seen[1]![10] !== 20)
    throw new Error(`values ${seen.map((values) => values[10])}`)
  if (device.memory.liveBytes !== before) throw new Error(`${device.memory.liveBytes - before} bytes stay`)
  x.dispose()
})

if (profiler) {
  test("the device's clock, one sample a run, the emptying of the caches not counted", async () => {
    const x = ones([64, 64])
    let runs = 0
    const flush = new CacheFlush(device)
    const record = (): Outputs => {
      runs++
      return [scope(() => x.add(1).mul(2))]
    }
    const { median, samples, timer } = await doBench(device, record, { ...budget, profiler, flush: flush.record })
    // Three runs are no samples: one compiles, one warms up, and one counts the dispatches.
    if (timer !== 'device' || samples !== runs - 3 || !(median > 0))
      throw new Error(`${timer}, ${samples} of ${runs}, ${median}`)
    if (device.profiler) throw new Error('the profiler is still set')
    flush.dispose()
    x.dispose()
  })

  test('a clock that sees no time pass is no measurement', async () => {
    class Stopped extends Profiler {
      override async collect() {
        return (await super.collect()).map((dispatch) => ({ ...dispatch, end: dispatch.begin }))
      }
    }
    const stopped = new Stopped(device.gpu)
    const x = ones([64])
    const message = await failure(() => doBench(device, () => [x.add(1)], { ...budget, profiler: stopped }))
    if (!message.includes('the clock saw a run take 0 ms')) throw new Error(message)
    // A coarse clock sees time pass only over several runs.
    let reads = 0
    class Coarse extends Profiler {
      override async collect() {
        return (await super.collect()).map((dispatch, i) => ({
          ...dispatch,
          begin: 0,
          end: i === 0 && reads++ > 0 ? 100_000 : 0,
        }))
      }
    }
    const { median } = await doBench(device, () => [x.add(1)], { ...budget, profiler: new Coarse(device.gpu) })
    if (!(median > 0 && Number.isFinite(median))) throw new Error(`median ${median}`)
    x.dispose()
  })
}

test('what measures nothing is refused', async () => {
  const x = ones([64])
  const zero = zeros([64])
  const work = () => scope(() => x.add(1))
  let calls = 0
  const refused: [record: () => unknown, message: RegExp][] = [
    [() => {}, /a run gives undefined; it must give what it computes/],
    [() => void work().dispose(), /a run gives undefined/],
    [() => [], /a run gives no outputs/],
    [async () => [work()], /a run gives a promise/],
    [() => [x.detach()], /a run dispatches nothing/],
    [capture(() => [x]), /a run dispatches nothing/],
    [
      () => (calls++ === 0 ? [work()] : [x.detach()]),
      /runs dispatched 1 times; the first had 1, so \d+ were due|the clock saw a run take 0 ms/,
    ],
    [() => [scope(() => zero.mul(2))], /output 0 is nothing but zeros/],
    [() => [work(), scope(() => zero.log())], /output 1 has -Infinity at 0/],
    [() => [scope(() => zero.div(zero))], /output 0 has NaN at 0/],
    [capture(() => void x.add(1)), /nothing uses what a captured function computes/],
    [
      () => {
        throw new Error('broken')
      },
      /^broken$/,
    ],
  ]
  for (const clock of profiler ? [undefined, profiler] : [undefined]) {
    for (const [record, message] of refused) {
      calls = 0
      const found = await failure(() => doBench(device, anything(record), { ...budget, profiler: clock }))
      if (!message.test(found)) throw new Error(`${record}: said "${found}", expected ${message}`)
      if (device.profiler) throw new Error(`${record}: the profiler is still set`)
      await profiler?.collect()
    }
  }
  for (const t of [x, zero]) t.dispose()
})

test('ceilings are positive and finite, beside a target too', async () => {
  const gauge = new CeilingGauge(device, profiler)
  const ceilings = await gauge.measure(budget)
  const { gflops, gbps, readback, dispatch, submit } = ceilings
  const good = [gflops, gbps, readback].every((value) => value > 0 && Number.isFinite(value)) && dispatch >= 0 && submit >= 0
  if (!good) throw new Error(JSON.stringify(ceilings))
  for (const { flops, bytes, launches } of [
    { flops: 1e9, bytes: 0, launches: false },
    { flops: 0, bytes: 5e6, launches: false },
    { flops: 1, bytes: 1, launches: true },
  ]) {
    const target = { ...small, flops, bytes }
    const first = await gauge.beside(target, { launches, flush: undefined }, budget)
    const best = await gauge.beside(target, { launches, flush: undefined }, budget, true)
    if (![first, best].every((rates) => rates.gflops > 0 && rates.gbps > 0 && rates.dispatch >= 0))
      throw new Error(JSON.stringify(first))
    if (best.gflops < first.gflops || best.gbps < first.gbps) throw new Error(JSON.stringify([first, best]))
  }
})

test('a ceiling whose kernels do not run is an error', async () => {
  const { dispatch } = device
  device.dispatch = () => {}
  try {
    const message = await failure(() => new CeilingGauge(device, profiler, true).measure(budget))
    if (!message.includes('dispatches nothing')) throw new Error(message)
  } finally {
    device.dispatch = dispatch
  }
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
      ops: () => {
        throw new Error('was timed')
      },
      executed: () => small.flops,
      confirm: () => {},
      check: async () => {
        throw new Error('off by 1')
      },
      dispose: () => {},
    }),
  }
  const { results, failures } = await runBench(device, [wrong, small], { budget, flush: false, quick: true })
  if (failures.length !== 1 || failures[0]!.reason !== 'off by 1') throw new Error(JSON.stringify(failures))
  if (results.length !== 1 || !(results[0]!.error <= 1e-5)) throw new Error(JSON.stringify(results))
})

test('a kernel that gives wrong values fails its check', async () => {
  const prepared = small.prepare(device)
  const { dispatch } = device
  // Without a dispatch the output keeps its poison.
  device.dispatch = () => {}
  try {
    const found = await prepared.check().catch((error: Error) => error.message)
    if (typeof found !== 'string' || !found.includes('off by NaN')) throw new Error(`said ${found}`)
  } finally {
    device.dispatch = dispatch
    prepared.dispose()
  }
})

/** A target of captured ops that claims a number of operations. */
function claiming(flops: number, compute: () => Tensor, executed = (run: Replayed) => run.executed()): Target {
  return {
    ...{ group: 'ops', name: 'claims', variant: 'forward', shape: '', bytes: 0, single: false, unit: 'vector', flops },
    prepare() {
      const run = replayed(compute)
      return { ...run, executed: () => executed(run), check: async () => 0, confirm: checkComputed }
    },
  }
}

test('work that an output does not need is not timed as if it were done', async () => {
  const [a, b] = [ones([32, 32]), ones([32, 32])]
  const product = 2 * 32 ** 3
  const both = claiming(2 * product, () => scope(() => a.matmul(b).matmul(b)))
  const half = claiming(2 * product, () =>
    scope(() => {
      a.matmul(b)
      return b.matmul(a)
    }),
  )
  const { results, failures } = await runBench(device, [both, half], { budget, flush: false, quick: true })
  if (results.length !== 1) throw new Error(JSON.stringify(failures))
  const { reason } = failures[0]!
  if (!reason.includes(`executes ${product} of the ${2 * product} operations that are counted (50.0 %)`))
    throw new Error(reason)
  for (const t of [a, b]) t.dispose()
})

test('more than a ceiling is a failure, marked in the table, and not kept as a time', async () => {
  const x = ones([64])
  const target = claiming(
    1e15,
    () => x.add(1),
    () => 1e15,
  )
  const memory: Target = { ...small, bytes: 1e15 }
  const report = await runBench(device, [target, memory], { budget, flush: false, quick: true })
  if (report.results.length > 0 || report.failures.length !== 2) throw new Error(JSON.stringify(report.results))
  for (const [i, bound] of ['compute', 'memory'].entries()) {
    const { reason, result } = report.failures[i]!
    if (!new RegExp(`ms is \\d+ % of the ${bound} ceiling`).test(reason)) throw new Error(reason)
    if (!(result!.share > 1.05 && result!.bound === bound)) throw new Error(JSON.stringify(result))
  }
  const compared = compare(report, new Map())
  const [text, page] = [textReport(compared), htmlReport(compared)]
  if (text.split('\n').filter((line) => line.includes('IMPOSSIBLE')).length !== 2) throw new Error(text)
  if (text.split('\n').filter((line) => line.startsWith('FAILED')).length !== 2) throw new Error(text)
  if (!page.includes('<tr class="failed"><td>ops/claims</td>')) throw new Error(page)
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-bench-'))
  await appendHistory(folder, report)
  if ((await previousTimes(folder, device.summary.name)).size > 0) throw new Error('a time that cannot be was kept')
  await rm(folder, { recursive: true })
  x.dispose()
})

test('a history of before knows no forward passes of layers and models', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-bench-'))
  const ids = ['layers/mlp/forward quick', 'models/vit/forward quick', 'layers/mlp/step quick', 'ops/softmax/forward [1]']
  const times = Object.fromEntries(ids.map((id) => [id, [1, 1, 1]]))
  await writeFile(join(folder, 'it.jsonl'), `${JSON.stringify({ date: 'then', times })}\n`)
  const before = await previousTimes(folder, 'it')
  if ([...before.keys()].join() !== ids.slice(2).join()) throw new Error([...before.keys()].join())
  await writeFile(join(folder, 'it.jsonl'), `${JSON.stringify({ method: 2, date: 'now', times })}\n`)
  if ((await previousTimes(folder, 'it')).size !== 4) throw new Error('new times are not compared with')
  await rm(folder, { recursive: true })
})

test('ends', () => device.destroy())

run()
