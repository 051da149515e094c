import * as assert from 'uvu/assert'
import { explain } from '../../bench/streams/explain.ts'
import type { Series } from '../../bench/streams/measure.ts'
import { textReport } from '../../bench/streams/report.ts'
import { EAGER, fastest, makeRows, type Row } from '../../bench/streams/rows.ts'
import { sizesOf } from '../../bench/streams/sizes.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('paraformer bench streams')

const SIZES = '--image-size 8 --patch-size 4 --dim 8 --heads 2 --dim-head 4 --mlp-dim 8 --branches 2 --branch-depth 1'.split(
  ' ',
)
const SMALL = ['bench', 'streams', '--quick', '--batch', '1,2', '--micro-batches', '1,2', ...SIZES]
const MODES = ['eager serial', 'serial', 'streams', 'coalesced']
const DEVICES = /^2 devices, (serial|coalesced)$/

async function streams(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHere([...SMALL, ...args])
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}, ${stderr}${stdout}`)
  return stdout
}

const report = JSON.parse(await streams('--json'))

test('a table for each batch size and pass, with a row for every mode', () => {
  const text = textReport(report)
  for (const [batch, pass] of [1, 2].flatMap((batch) => ['forward pass', 'training step'].map((pass) => [batch, pass]))) {
    const start = text.indexOf(`batch ${batch}, ${pass}`)
    assert.ok(start >= 0, `no table of batch ${batch}, ${pass}`)
    const names = text
      .slice(start)
      .split('\n')
      .slice(2, 12)
      .map((line) => line.trim().split(/ {2,}/)[0]!)
    const wanted = [...MODES, /^auto: (serial|streams|coalesced)$/, DEVICES, 'ViT eager serial', 'ViT serial']
    for (const [i, name] of [...wanted, /^ViT pipeline of 2, [12] micro-batch(es)?$/].entries()) {
      assert.ok(typeof name === 'string' ? names[i] === name : name.test(names[i]!), `row ${i} is ${names[i]}, not ${name}`)
    }
  }
  for (const name of ['one branch alone', 'coalesced', 'serial', 'ViT']) {
    assert.match(text, new RegExp(`^ ${name} +\\d+ +[\\d.]+x +\\d+ +\\d+ +[\\d.]+x +\\d+ *$`, 'm'))
  }
})

test('--json has all that was measured', () => {
  assert.ok(report.device.name && report.date && report.sizes.vit.depth === 2)
  assert.equal(report.failures, [])
  assert.is(report.parameters[0], report.parameters[1])
  assert.is(report.rows.length, 4 * 8)
  for (const row of report.rows as Row[]) {
    const { time, latency, host, dispatches, submits, moved, error, speedup, name, pass, architecture, batch } = row
    const what = `batch ${batch} ${pass} ${architecture} ${name}`
    const numbers = [time.median, latency.median, host, dispatches, submits, speedup.eager, speedup.serial, speedup.vit]
    assert.ok(
      numbers.every((number) => number > 0 && Number.isFinite(number)),
      `${what}: ${numbers}`,
    )
    assert.ok(time.p20 <= time.median && time.median <= time.p80 && error >= 0 && error <= 1e-4, what)
    // JavaScript takes a part of a run's time, also on several devices, since its waits do not count.
    assert.ok(
      host < latency.p80 && Math.abs(host / dispatches / row.hostPerDispatch - 1) < 1e-9,
      `${what}: ${host} of ${latency.p80}`,
    )
    const several = row.devices > 1
    assert.is(moved > 0, several, what)
    assert.is(row.memory === undefined, several, what)
    if (!several) assert.ok(row.device! > 0 && row.memory!.bytes > 0, what)
    if (row.chain !== undefined) assert.ok(row.chain > 0 && row.chain <= dispatches, what)
    assert.is((row.memory?.unplanned ?? 0) > 0, row.chain !== undefined, what)
  }
  const bits = (report.rows as Row[]).filter(({ name }) => name === 'serial' || name === 'streams')
  for (const { name, error } of bits) assert.is(error, 0, name)
  const find = (name: string | RegExp, pass: string) =>
    (report.rows as Row[]).find((row) => row.pass === pass && row.name.match(name)?.[0] === row.name)!
  for (const pass of ['forward', 'step']) {
    const [eager, serial, split, coalesced] = MODES.map((name) => find(name, pass))
    assert.is(eager!.dispatches, serial!.dispatches, pass)
    assert.ok(coalesced!.dispatches < serial!.dispatches && split!.submits > serial!.submits, pass)
  }
  // A forward pass moves a CLS row [1, D] of float32. A pipeline moves [1, N, D], and in a step the gradient back.
  assert.is(find(DEVICES, 'forward').moved, 8 * 4)
  assert.is(find('pipeline of 2, 1 micro-batch', 'forward').moved, 5 * 8 * 4)
  assert.is(find('pipeline of 2, 1 micro-batch', 'step').moved, 2 * 5 * 8 * 4)
  const tried = report.choices.map(({ batch, pass, name, ms }: { batch: number; pass: string; name: string; ms: object }) => {
    return `${batch} ${pass} ${name} ${Object.keys(ms)}`
  })
  const devices = [1, 2].flatMap((batch) => ['forward', 'step'].map((pass) => `${batch} ${pass} devices serial,coalesced`))
  assert.equal(tried.sort(), [...devices, '2 forward pipeline 1,2', '2 step pipeline 1,2'].sort())
  for (const { dispatches, chain } of report.paths) {
    for (const pass of ['forward', 'step']) assert.ok(chain[pass] > 0 && chain[pass] <= dispatches[pass])
  }
})

test('--csv, and prefix losses', async () => {
  const [head, ...lines] = (await streams('--csv', '--scheme', 'prefixSum')).trim().split('\n')
  const columns = head!.split(',')
  assert.equal(columns.slice(0, 5), ['batch', 'pass', 'architecture', 'name', 'median'])
  assert.is(lines.length, 4 * 8)
  const bare = lines.map((line) => line.replaceAll(/"[^"]*"/g, 'quoted'))
  assert.ok(bare.every((line) => line.split(',').length === columns.length))
})

test('--devices 1 leaves out what needs more', async () => {
  const text = await streams('--devices', '1', '--batch', '1')
  assert.match(text, /^ coalesced /m)
  assert.not.match(text, /pipeline of|devices/)
})

const BAD: [args: string[], message: RegExp][] = [
  [['--fast'], /unknown option '--fast'.*paraformer bench streams --help/],
  [['--batch', '1,x'], /--batch.*must be a number.*paraformer bench streams --help/],
  [['--batch', '0'], /--batch.*whole number from 1 to /],
  [['--batch', '4,4'], /--batch.*must not name a number twice/],
  [['--devices', 'two'], /--devices.*must be a number/],
  [['--micro-batches', '1.5'], /--micro-batches.*whole number/],
  [['--preset', 'huge'], /--preset.*choices are small, quick, paper, cifar/i],
  [['--preset', 'small', '--patch-size', '5'], /patchSize 5 does not divide imageSize 28/],
  [['--preset', 'small', '--branches', '1'], /--branches 1 leaves nothing to run side by side/],
  [['--micro-batches', '2,3', '--batch', '4,7'], /--micro-batches 2,3: none of them divides a batch of 7; add 1/],
  [['--json', '--csv'], /--json.*cannot be used with.*--csv/],
  [['--adapter', 'abacus'], /no adapter is "abacus"/],
  [['now'], /too many arguments/],
  [[...SIZES, '--devices', '3'], /--devices 3: 2 branches need at most as many devices/],
]
for (const [args, message] of BAD) {
  test(`bench streams ${args.join(' ')}`, () => expectUserError(['bench', 'streams', ...args], message))
}

test('the models have as many layers and parameters, and no dropout', () => {
  for (const preset of ['small', 'quick', 'cifar', 'paper']) {
    const { paraformer, vit } = sizesOf(preset, {})
    assert.is(paraformer.branches * paraformer.branchDepth, vit.depth, preset)
    assert.equal([paraformer.dim, paraformer.dropout, vit.dropout], [vit.dim, 0, 0], preset)
  }
  assert.is(sizesOf('small', { dim: 24 }).vit.dim, 24)
})

/** Makes rows of series from times in milliseconds, one for each round. */
function rowsOf(times: Record<string, number[]>, pass: 'forward' | 'step' = 'forward'): Row[] {
  const measured = Object.entries(times).map(([title, ms]) => {
    const [architecture, name] = title.startsWith('ViT ')
      ? (['vit', title.slice(4)] as const)
      : (['paraformer', title] as const)
    const devices = Array(/\d/.test(name) ? 2 : 1).fill({})
    const candidate = { name, architecture, devices } as unknown as Parameters<typeof makeRows>[1][number]['candidate']
    const series: Series = { latency: ms, queued: ms.map((value) => 2 * value), host: [0.5], device: ms }
    const chain = name === EAGER || devices.length > 1 ? {} : { chain: 5 }
    return { candidate, series, counted: { dispatches: 10, submits: 1, moved: 1024, error: 0, ...chain } }
  })
  return makeRows({ batch: 8, pass }, measured)
}

test('speed-ups are medians of the ratios round by round', () => {
  // In the second round the machine is three times as slow.
  const [eager, serial, coalesced, vit] = rowsOf({
    [EAGER]: [8, 24, 8],
    serial: [4, 12, 4],
    coalesced: [1, 3, 1],
    'ViT serial': [2, 6, 2],
  })
  assert.equal(eager!.speedup, { eager: 1, serial: 0.5, vit: 0.25 })
  assert.equal(coalesced!.speedup, { eager: 8, serial: 4, vit: 2 })
  assert.equal([serial!.time.median, serial!.host, serial!.hostPerDispatch], [4, 0.5, 0.05])
  assert.is(vit!.speedup.vit, 1)
  const [step] = rowsOf({ serial: [4, 5, 6] }, 'step')
  assert.equal([step!.time.median, step!.latency.median], [10, 5])
  assert.ok(Number.isNaN(step!.speedup.vit))
})

test('auto is the fastest captured mode on one device', () => {
  const rows = rowsOf({ [EAGER]: [1], serial: [4], streams: [3], coalesced: [5], '2 devices': [2], 'ViT serial': [1] })
  assert.is(fastest(rows)?.name, 'streams')
})

test('what does not help is explained, what helps is not', () => {
  const device = { software: true } as Parameters<typeof explain>[1]['device']
  const choices: Parameters<typeof explain>[1]['choices'] = [
    { batch: 8, pass: 'forward', name: 'pipeline', ms: { 1: 3, 2: 4 } },
  ]
  const slow = rowsOf({
    [EAGER]: [4],
    serial: [4],
    streams: [4.1],
    coalesced: [4.2],
    '2 devices': [5],
    'ViT serial': [4],
    'ViT pipeline of 2': [6],
  })
  const lines = explain(slow, { device, choices })
  for (const [i, name] of ['serial', 'streams', 'coalesced', '2 devices', 'pipeline of 2'].entries()) {
    assert.match(lines[i]!, new RegExp(`^${name} does not help, [\\d.]+x of .*: .*\\.$`))
  }
  assert.is(lines.length, 5)
  assert.match(lines[3]!, /share one processor/)
  assert.match(lines[4]!, /one after the other, since more micro-batches cost more dispatches/)
  const quick = rowsOf({ [EAGER]: [8], serial: [4], streams: [3], coalesced: [2], 'ViT serial': [4], 'ViT pipeline of 2': [2] })
  assert.equal(explain(quick, { device, choices: [] }), [])
})

run()
