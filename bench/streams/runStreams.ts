import type { AdapterSummary, Device } from '../../engine/index.ts'
import { countParameters } from '../../model/index.ts'
import type { Pass } from './candidate.ts'
import { criticalPaths, type Path } from './criticalPath.ts'
import { DeviceClock } from './deviceClock.ts'
import type { MeasureOptions } from './measure.ts'
import { PassRun } from './passRun.ts'
import type { Row } from './rows.ts'
import type { Sizes } from './sizes.ts'
import type { Workbench } from './workbench.ts'

/** All that `paraformer bench streams` found out. */
export interface StreamsReport {
  date: string
  device: AdapterSummary
  /** Of ParaFormer and ViT. */
  parameters: [number, number]
  sizes: Sizes
  rows: Row[]
  /** What was tried where one row stands for the fastest of several: milliseconds by mode of each device, or number of micro-batches. */
  choices: { batch: number; pass: Pass; name: 'devices' | 'pipeline'; ms: Record<string, number> }[]
  paths: Path[]
  failures: { batch: number; pass: Pass; name: string; reason: string }[]
}

export interface StreamsOptions extends Pick<MeasureOptions, 'time' | 'least'> {
  batches: readonly number[]
  /** Numbers of micro-batches that the pipeline may have. */
  microBatches: readonly number[]
  onProgress?(done: number, of: number, what: string): void
  /** Asked between passes: true leaves out the rest. */
  shouldStop?(): boolean
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
    choices: [],
    paths: [],
    failures: [],
  }
  const passes = batches.flatMap((batch) => (['forward', 'step'] as const).map((pass) => ({ batch, pass })))
  onProgress?.(0, passes.length + 1, 'critical path')
  report.paths = await criticalPaths(bench, batches[0]!)
  const clocks = new Map<Device, DeviceClock>()
  // The pipeline has the devices of one of the spreads.
  for (const one of new Set([device, ...(bench.several?.distributions ?? []).flatMap(({ devices }) => devices)])) {
    const clock = DeviceClock.of(one.gpu)
    if (clock) clocks.set(one, clock)
  }
  for (const [i, at] of passes.entries()) {
    if (options.shouldStop?.()) break
    const tell = (share: number, what: string) =>
      onProgress?.(i + 1 + share, passes.length + 1, `batch ${at.batch} ${at.pass} ${what}`)
    await new PassRun(bench, report, { ...options, queue: at.pass === 'step' || clocks.size === 0, clocks }, at, tell).run()
    device.trim()
  }
  for (const clock of clocks.values()) clock.dispose()
  return report
}
