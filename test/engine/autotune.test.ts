import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TuningDatabase } from '../../engine/autotune/database.ts'
import { extractTasks } from '../../engine/autotune/extractTasks.ts'
import { classOf, sizesOf } from '../../engine/autotune/shapeClass.ts'
import { DeviceStore } from '../../engine/autotune/store.ts'
import { type TuneReport, tuneDevice, tuneTasks } from '../../engine/autotune/tune.ts'
import { TunedVariants } from '../../engine/autotune/tuned.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { run as dispatch } from '../../engine/tensor/run.ts'
import { empty, type Tensor, view } from '../../engine/tensor/tensor.ts'
import { kernelFamilies } from '../../kernels/index.ts'
import { ceilDiv, grid1d, type KernelEntry, type KernelSpec, type Variant } from '../../kernels/spec.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('autotuner')
const device = await requestDevice()
const cache = mkdtempSync(join(tmpdir(), 'paraformer-autotune-'))
process.env.XDG_CACHE_HOME = cache

interface Doubling {
  size: number
}

/** A variant that doubles, in workgroups of `threads`; `body` reads x[i] and writes out[i]. */
function way(name: string, body: string, threads = 64): Variant<Doubling> {
  const source = `struct Params { size: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;
fn idle(turns: u32, seed: f32) -> f32 {
  var state = bitcast<u32>(seed);
  // There are two loops, since drivers may limit the turns of one.
  for (var k = 0u; k < turns; k++) { for (var j = 0u; j < 1000u; j++) { state = state * 1664525u + 1013904223u; } }
  return select(0.0, 1.0, state == 1u);
}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * ${threads}u;
  if (i < params.size) { ${body} }
}`
  return { name, source, grid: ({ size }) => grid1d(ceilDiv(size, threads)) }
}

const slow = way('slow', 'out[i] = 2.0 * x[i] + idle(8u, x[i]);')
const fast = way('fast', 'out[i] = 2.0 * x[i];')
const wrong = way('wrong', 'out[i] = 2.001 * x[i];')
const broken = way('broken', 'out[i] = 2.0 * y[i];')
const slower = way('slower', 'out[i] = 2.0 * x[i] + idle(800u, x[i]);')

/** A kernel whose first variant is its default. */
function doubling(name: string, ...variants: Variant<Doubling>[]): KernelSpec<Doubling> {
  return {
    name,
    bindings: [
      { name: 'x', access: 'read', dtype: 'f32' },
      { name: 'out', access: 'read_write', dtype: 'f32' },
    ],
    params: [{ name: 'size', type: 'u32' }],
    variants,
    choose: () => variants[0]!.name,
    flops: ({ size }) => size,
    bytes: ({ size }) => 8 * size,
  }
}

const SIZE = 4096
const x = tensor(Float32Array.from({ length: SIZE }, (_, i) => i))
const out = empty([SIZE])

function launch(spec: KernelSpec<Doubling>, size = SIZE): void {
  dispatch(spec, { size }, [x, out])
}

const chosen = (spec: KernelSpec<Doubling>, size = SIZE) => device.kernels.variant(spec, { size }).name

function expect(found: unknown, expected: unknown, what: string): void {
  if (found !== expected) throw new Error(`${what}: ${found}, expected ${expected}`)
}

/** The default budget is room for a busy machine: tuning ends when it is done. */
async function tuneFully(work: () => void, budget = 120_000): Promise<TuneReport> {
  return (await tuneDevice(device, 'full', work, { budget }))!
}

test('full finds the fastest variant that is right; cached takes it; off does not', async () => {
  const spec = doubling('doubling', slow, wrong, broken, slower, fast)
  const report = await tuneFully(() => launch(spec))
  const [answer] = report.tuned
  expect(report.tuned.length, 1, 'answers')
  expect(answer!.variant, 'fast', 'the fastest')
  expect(answer!.fallback, 'slow', 'the default')
  expect(answer!.dropped.wrong, 'gives other values than the default', 'wrong')
  if (!/does not compile.*y/.test(answer!.dropped.broken ?? '')) throw new Error(`broken: ${answer!.dropped.broken}`)
  if (!/^took/.test(answer!.dropped.slower ?? '')) throw new Error(`slower: ${answer!.dropped.slower}`)
  if (!(answer!.ms.fast! < answer!.ms.slow!)) throw new Error(JSON.stringify(answer!.ms))
  expect(chosen(spec), 'fast', 'after full')
  const again = await tuneFully(() => launch(spec))
  expect(`${again.tuned.length} ${again.known} ${again.left}`, '0 1 0', 'tuned again')
  await tuneDevice(device, 'cached', () => {})
  expect(chosen(spec), 'fast', 'cached')
  expect(chosen(spec, SIZE - 100), 'fast', 'a like shape')
  expect(chosen(spec, SIZE / 2), 'slow', 'another shape')
  launch(spec)
  assertClose(
    await out.data(),
    Array.from({ length: SIZE }, (_, i) => 2 * i),
    0,
    'values',
  )
  await tuneDevice(device, 'off', () => launch(spec))
  expect(chosen(spec), 'slow', 'off')
})

test('a pinned variant wins over a tuned one, and so does one that is named', async () => {
  const spec = doubling('pinned', slow, fast)
  await tuneFully(() => launch(spec))
  expect(chosen(spec), 'fast', 'tuned')
  expect(device.kernels.variant(spec, { size: SIZE }, 'slow').name, 'slow', 'named')
  device.kernels.pinned.set('pinned', 'slow')
  expect(chosen(spec), 'slow', 'pinned')
  expect(extractTasks(device, () => launch(spec)).length, 0, 'a pinned kernel to tune')
  device.kernels.pinned.clear()
})

test('a default that is fastest stays, and other sources know nothing of old answers', async () => {
  const spec = doubling('stays', fast, slow)
  const report = await tuneFully(() => launch(spec))
  expect(report.tuned[0]?.variant, 'fast', 'the default')
  const changed = doubling('stays', fast, { ...slow, source: `${slow.source}\n` })
  expect((await tuneFully(() => launch(changed))).known, 0, 'known of other sources')
})

test('a survey runs nothing, takes no memory and tells how often each shape comes', async () => {
  const spec = doubling('surveyed', slow, fast)
  const single = doubling('single', slow)
  const before = await out.data()
  const { liveBytes } = device.memory
  const problems = extractTasks(device, () => {
    launch(spec)
    launch(spec)
    launch(single)
    dispatch(spec, { size: 8 }, [empty([8]), empty([8])])
    dispatch(spec, { size: 9 }, [empty([9]), empty([9])], { variant: 'slow' })
  })
  expect(problems.map(({ problem, count }) => `${problem.size} x ${count}`).join(), '4096 x 2,8 x 1', 'problems')
  expect(device.memory.liveBytes, liveBytes, 'memory')
  assertClose(await out.data(), before, 0, 'what the kernel would have written')
  expect(`${problems[0]!.buffers}`, `${4 * SIZE},${4 * SIZE}`, 'bytes')
})

test("tuning leaves the user's memory alone", async () => {
  const spec = doubling('apart', slow, wrong, fast)
  const [mine, target] = [tensor([1, 2, 3]), tensor([4, 5, 6])] as [Tensor, Tensor]
  await tuneFully(() => dispatch(spec, { size: 3 }, [mine, target]))
  assertClose(await mine.data(), [1, 2, 3], 0, 'read')
  assertClose(await target.data(), [4, 5, 6], 0, 'written')
})

test('operands in one buffer are in one buffer again', async () => {
  const spec = doubling('together', slow, fast)
  const both = empty([1024])
  const second = view(both, { shape: [512], offset: 512 })
  const other = empty([512])
  const [problem] = extractTasks(device, () => dispatch(spec, { size: 512 }, [both, other]))
  expect(problem!.buffers.length, 2, 'buffers')
  const [shared] = extractTasks(device, () => dispatch(spec, { size: 512 }, [both, second]))
  expect(JSON.stringify(shared!.operands), '[{"buffer":0,"offset":0},{"buffer":0,"offset":2048}]', 'operands')
  expect(`${shared!.buffers}`, '4096', 'bytes')
})

test('what does not fit the budget is left, and found out the next time', async () => {
  const specs = Array.from({ length: 6 }, (_, i) =>
    doubling(`budget${i}`, slow, { ...fast, source: `// ${i}\n${fast.source}` }),
  )
  const work = () => {
    for (const spec of specs) launch(spec)
  }
  const none = await tuneFully(work, 0)
  expect(`${none.tuned.length} ${none.left}`, '0 6', 'without a budget')
  const began = performance.now()
  const stopped = await tuneDevice(device, 'full', work, { shouldStop: () => performance.now() - began > 0 })
  expect(`${stopped!.tuned.length} ${stopped!.left}`, '0 6', 'stopped')
  let left = 6
  for (let turn = 1; left > 0; turn++) {
    const report = await tuneFully(work, 3000)
    if (!(report.seconds < 5)) throw new Error(`took ${report.seconds} s of 3`)
    expect(report.known + report.tuned.length + report.left, 6, 'all of them')
    if (report.left > left || turn === 30) throw new Error(`${report.left} are left after ${turn} turns`)
    left = report.left
  }
  for (const spec of specs) expect(chosen(spec), 'fast', spec.name)
})

/** The turns of `idle` for which one thread takes some milliseconds of processor time, whatever else runs. */
async function turnsFor(milliseconds: number): Promise<number> {
  for (let turns = 10_000; ; turns *= 4) {
    const spec = doubling(`idle${turns}`, way('idling', `out[i] = idle(${turns}u, x[i]);`, 1))
    launch(spec, 1)
    await device.synchronize()
    const before = process.cpuUsage()
    launch(spec, 1)
    await device.synchronize()
    const { user, system } = process.cpuUsage(before)
    const took = (user + system) / 1000
    if (took > 100) return Math.ceil((turns * milliseconds) / took)
  }
}

test('a candidate that hangs is given up in time, twice at most, and takes nothing along', async () => {
  const budget = 2500
  // Each workgroup of this variant runs longer than the budget, and nothing can stop it.
  const hanging = way('hanging', `out[i] = 2.0 * x[i] + idle(${await turnsFor(2 * budget)}u, x[i]);`, 1)
  const spec = doubling('hanging', slow, hanging, fast)
  // This launch compiles the kernel.
  launch(spec)
  await device.synchronize()
  const report = await tuneFully(() => launch(spec), budget)
  if (!(report.seconds < 4.5)) throw new Error(`took ${report.seconds} s of 2.5`)
  expect(`${report.tuned.length} ${report.left}`, '0 1', 'with it')
  const answers = new TuningDatabase(await DeviceStore.open(device.summary))
  expect(answers.breaks(spec, hanging), 1, 'kept')
  expect(chosen(spec), 'slow', 'meanwhile')
  launch(spec)
  assertClose(
    await out.data(),
    Array.from({ length: SIZE }, (_, i) => 2 * i),
    0,
    'the device goes on',
  )
  if (answers.isGivenUp(spec, hanging)) throw new Error('it gets no second chance')
  answers.addBreak(spec, 'hanging', false)
  await answers.save()
  const [answer] = (await tuneFully(() => launch(spec))).tuned
  expect(answer?.variant, 'fast', 'without it')
  if ('hanging' in { ...answer!.ms, ...answer!.dropped }) throw new Error('it was tried again')
})

test('answers that are damaged or of unknown variants are as if there were none', async () => {
  const spec = doubling('damaged', slow, fast)
  await tuneFully(() => launch(spec))
  const folder = join(cache, 'paraformer', 'tuning')
  const [file, ...rest] = readdirSync(folder)
  expect(rest.length, 0, 'other files')
  const path = join(folder, file!)
  const text = readFileSync(path, 'utf8')
  const store = JSON.parse(text)
  const key = Object.keys(store.values).find((key) => key.startsWith('variant damaged@'))!
  const answer = store.values[key]
  const damaged = [
    ...[null, 7, 'fast', {}, [], { ...answer, variant: 3 }, { ...answer, ms: undefined }, { ...answer, ms: { fast: 'x' } }],
    ...[
      { ...answer, ms: {} },
      { ...answer, work: null },
      { ...answer, sizes: ['x'] },
      { ...answer, slow: { slow: null } },
    ],
    ...[
      { ...answer, dropped: [] },
      { ...answer, variant: 'toString' },
    ],
  ]
  for (const value of damaged) {
    writeFileSync(path, JSON.stringify({ ...store, values: { ...store.values, [key]: value } }))
    await tuneDevice(device, 'cached', () => {})
    expect(chosen(spec), 'slow', JSON.stringify(value))
  }
  writeFileSync(path, JSON.stringify({ ...store, values: { [key]: { ...store.values[key], variant: 'gone' } } }))
  await tuneDevice(device, 'cached', () => {})
  launch(spec)
  assertClose(
    await out.data(),
    Array.from({ length: SIZE }, (_, i) => 2 * i),
    0,
    'an unknown variant',
  )
  writeFileSync(path, text.slice(0, text.length / 2))
  await tuneDevice(device, 'cached', () => {})
  expect(chosen(spec), 'slow', 'half a file')
  expect((await tuneFully(() => launch(spec))).tuned.length, 1, 'tuned anew')
  expect(chosen(spec), 'fast', 'after half a file')
})

test('answers go through JSON as they are; where they cannot be kept, they are used and it is said', async () => {
  const spec = doubling('kept', slow, fast)
  const { TMPDIR } = process.env
  const keepNothing = () => Object.assign(process.env, { XDG_CACHE_HOME: '/dev/null', TMPDIR: '/dev/null' })
  const keep = () => {
    process.env.XDG_CACHE_HOME = cache
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
  }
  keepNothing()
  const { request } = device
  const store = await DeviceStore.open(device.summary)
  keep()
  const problems = extractTasks(device, () => launch(spec))
  const answers = new TuningDatabase(store)
  const save = answers.save.bind(answers)
  answers.save = () => {
    keepNothing()
    return save().finally(keep)
  }
  const report = await tuneTasks(device, problems, answers, { budget: 20_000 })
  if (!/cannot be written/.test(report.unkept ?? '')) throw new Error(`kept under /dev/null: ${report.unkept}`)
  expect(device.request, request, 'request')
  device.kernels.tuned = new TunedVariants(JSON.parse(JSON.stringify(answers.variants())))
  expect(chosen(spec), 'fast', 'from JSON')
})

test('every kernel has a shape class, the same for a problem and its like', () => {
  for (const { spec, cases } of Object.values(kernelFamilies as Record<string, readonly KernelEntry[]>).flat()) {
    for (const { name, problem } of cases) {
      const key = classOf(sizesOf(spec, problem))
      if (!Number.isSafeInteger(key) || key < 0) throw new Error(`${spec.name} ${name}: ${sizesOf(spec, problem)} gives ${key}`)
    }
  }
  expect(classOf([1000, 64]), classOf([1024, 65]), 'like sizes')
  for (const [a, b] of [
    [
      [1024, 64],
      [2048, 64],
    ],
    [
      [1024, 64],
      [1448, 64],
    ],
    [
      [1, 64],
      [64, 1],
    ],
    [[0], [1]],
  ] as [number[], number[]][]) {
    if (classOf(a) === classOf(b)) throw new Error(`${a} and ${b} are one class`)
  }
})

test('ends', () => {
  device.destroy()
  rmSync(cache, { recursive: true })
})

run()
