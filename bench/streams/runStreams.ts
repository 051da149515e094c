import { type AdapterSummary, DeviceLostError, reason } from '../../engine/index.ts'
import { countParameters, MODES, type Mode } from '../../model/index.ts'
import type { MicroBatch } from '../../train/index.ts'
import { normDifference, quantiles } from '../statistics.ts'
import { within } from '../target.ts'
import type { BatchData, Candidate, Pass, Values } from './candidate.ts'
import { criticalPaths, type Path } from './criticalPath.ts'
import { DeviceClock } from './deviceClock.ts'
import { type MeasureOptions, measure } from './measure.ts'
import { forwardPass, type Resident, trainingStep } from './oneDevice.ts'
import { type Counted, EAGER, makeRows, type Row } from './rows.ts'
import { pipelinePass, spreadPass } from './severalDevices.ts'
import type { Sizes } from './sizes.ts'
import { loadBatch, type Workbench } from './workbench.ts'

/** Norm-relative differences that rounding explains. */
const TOLERANCE: Record<Pass, number> = { forward: 1e-5, step: 1e-4 }

/** Rounds that choose between numbers of micro-batches. */
const PIPELINE_ROUNDS = 3

/** All that `paraformer bench streams` found out. */
export interface StreamsReport {
  date: string
  device: AdapterSummary
  /** Of ParaFormer and ViT. */
  parameters: [number, number]
  sizes: Sizes
  rows: Row[]
  /** Milliseconds by how many micro-batches the pipeline had, of which the fastest is among the rows. */
  microBatches: { batch: number; pass: Pass; ms: Record<number, number> }[]
  paths: Path[]
  failures: { batch: number; pass: Pass; name: string; reason: string }[]
}

export interface StreamsOptions extends Pick<MeasureOptions, 'time' | 'least'> {
  batches: readonly number[]
  /** Numbers of micro-batches that the pipeline may have. */
  microBatches: readonly number[]
  onProgress?(done: number, of: number, what: string): void
}

/** Measures forward pass and training step of every mode at every batch size. @throws DeviceLostError */
export async function runStreams(bench: Workbench, options: StreamsOptions): Promise<StreamsReport> {
  const { batches, onProgress } = options
  const { sizes, device } = bench
  const report: StreamsReport = {
    date: new Date().toISOString(),
    device: device.summary,
    parameters: [countParameters(sizes.paraformer).total, countParameters(sizes.vit).total],
    sizes,
    rows: [],
    microBatches: [],
    paths: [],
    failures: [],
  }
  const passes = batches.flatMap((batch) => (['forward', 'step'] as const).map((pass) => ({ batch, pass })))
  onProgress?.(0, passes.length + 1, 'critical path')
  report.paths = await criticalPaths(bench, batches[0]!)
  const clock = DeviceClock.of(device.gpu)
  for (const [i, at] of passes.entries()) {
    const tell = (share: number, what: string) =>
      onProgress?.(i + 1 + share, passes.length + 1, `batch ${at.batch} ${at.pass} ${what}`)
    await runPass(bench, report, { ...options, queue: at.pass === 'step' || !clock, clock }, at, tell)
    device.trim()
  }
  clock?.dispose()
  return report
}

type At = Pick<Row, 'batch' | 'pass'>
type Tell = (share: number, what: string) => void
type Checked = { candidate: Candidate; counted: Counted }

/** Checks, counts and times all candidates of one pass at one batch size. */
async function runPass(
  bench: Workbench,
  report: StreamsReport,
  options: MeasureOptions & Pick<StreamsOptions, 'microBatches'>,
  at: At,
  tell: Tell,
): Promise<void> {
  const { data, resident } = loadBatch(bench, at.batch)
  const expected = new Map<Candidate['architecture'], Values>()
  const checked: Checked[] = []
  /** The candidate, unless it fails or its values are not those of the first of its architecture. */
  const check = async (name: string, make: () => Candidate): Promise<Checked | undefined> => {
    let candidate: Candidate | undefined
    try {
      candidate = make()
      const values = await candidate.values()
      const { architecture } = candidate
      if (!expected.has(architecture)) expected.set(architecture, values)
      const error = within(difference(values, expected.get(architecture)!), TOLERANCE[at.pass], 'values')
      return { candidate, counted: { ...(await countRun(candidate)), error } }
    } catch (error) {
      if (error instanceof DeviceLostError) throw error
      report.failures.push({ ...at, name, reason: reason(error) })
      candidate?.dispose()
      return undefined
    }
  }
  try {
    const makers = candidatesOf(bench, at.pass, data, resident)
    for (const [i, [name, make]] of makers.entries()) {
      tell((0.3 * i) / makers.length, name)
      const found = await check(name, make)
      if (found) checked.push(found)
    }
    tell(0.3, 'pipeline')
    const pipeline = await fastestPipeline(bench, report, options, at, data, check)
    if (pipeline) checked.push(pipeline)
    tell(0.5, 'timing')
    const series = await measure(
      checked.map(({ candidate }) => candidate),
      options,
    )
    report.rows.push(
      ...makeRows(
        at,
        checked.map((one, i) => ({ ...one, series: series[i]! })),
      ),
    )
  } finally {
    for (const { candidate } of checked) candidate.dispose()
    for (const t of [resident.images, resident.labels]) t.dispose()
  }
}

/** What is compared, by name, the eager model of each architecture first. */
function candidatesOf(
  { paraformer, vit, several, sizes }: Workbench,
  pass: Pass,
  data: BatchData,
  batch: MicroBatch,
): [name: string, make: () => Candidate][] {
  const one = (who: Resident, name: string, mode: Mode, captured: boolean): [string, () => Candidate] => {
    const setup = { ...who, name, mode, captured, batch }
    const scheme = who === vit ? 'joint' : sizes.scheme
    return [name, () => (pass === 'forward' ? forwardPass(setup) : trainingStep(setup, scheme))]
  }
  return [
    one(paraformer, EAGER, 'serial', false),
    ...MODES.map((mode) => one(paraformer, mode, mode, true)),
    ...(several ? [['devices', () => spreadPass(several, pass, data, sizes.scheme)] as [string, () => Candidate]] : []),
    one(vit, EAGER, 'serial', false),
    one(vit, 'serial', 'serial', true),
  ]
}

/** The pipeline with as many micro-batches as make it fastest. */
async function fastestPipeline(
  { several, vit }: Workbench,
  report: StreamsReport,
  options: Pick<StreamsOptions, 'microBatches'>,
  at: At,
  data: BatchData,
  check: (name: string, make: () => Candidate) => Promise<Checked | undefined>,
): Promise<Checked | undefined> {
  if (!several) return undefined
  const { state, devices } = several
  const numbers = options.microBatches.filter((number) => at.batch % number === 0)
  const found: { number: number; checked: Checked }[] = []
  for (const number of numbers) {
    const name = `pipeline of ${number} micro-batches`
    const checked = await check(name, () => pipelinePass(vit.model, state, devices, at.pass, data, number))
    if (checked) found.push({ number, checked })
  }
  const series = await measure(
    found.map(({ checked }) => checked.candidate),
    { time: 0, least: PIPELINE_ROUNDS, queue: false },
  )
  const times = series.map(({ latency }) => quantiles(latency).median)
  const ms = Object.fromEntries(found.map(({ number }, i) => [number, times[i]!]))
  report.microBatches.push({ ...at, ms })
  const best = times.indexOf(Math.min(...times))
  for (const [i, { checked }] of found.entries()) if (i !== best) checked.candidate.dispose()
  return found[best]?.checked
}

/** Counts what one run does. */
async function countRun(candidate: Candidate): Promise<Omit<Counted, 'error'>> {
  const total = () =>
    candidate.devices.reduce(
      (sum, { counts }) => ({ dispatches: sum.dispatches + counts.dispatches, submits: sum.submits + counts.submits }),
      { dispatches: 0, submits: 0 },
    )
  const [before, movedBefore] = [total(), candidate.moved?.() ?? 0]
  await candidate.submit()
  const after = total()
  await candidate.wait()
  const memory = await candidate.memory?.()
  const chain = candidate.chain?.()
  return {
    dispatches: after.dispatches - before.dispatches,
    submits: after.submits - before.submits,
    moved: (candidate.moved?.() ?? 0) - movedBefore,
    ...(memory && { memory }),
    ...(chain !== undefined && { chain }),
  }
}

/** Norm-relative difference over what `actual` has. */
function difference(actual: Values, expected: Values): number {
  const names = [...actual.keys()]
  return normDifference(joined(actual, names), joined(expected, names))
}

function joined(values: Values, names: readonly string[]): Float32Array {
  const parts = names.map((name) => values.get(name)!)
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
