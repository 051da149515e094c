import type { Device } from '../../engine/index.ts'
import { countParameters } from '../../model/index.ts'
import { criticalPaths } from './criticalPath.ts'
import { DeviceClock } from './deviceClock.ts'
import { type PassOptions, PassRun } from './passRun.ts'
import type { StreamsReport } from './streamsReport.ts'
import type { Workbench } from './workbench.ts'

/** The batch sizes and limits of `runStreams`, and its callbacks. */
export interface StreamsOptions extends Pick<PassOptions, 'time' | 'minRounds' | 'microBatches'> {
  batches: readonly number[]
  onProgress?(done: number, of: number, what: string): void
  /** Called before each pass; when it returns true, the remaining passes are left out. */
  shouldStop?(): boolean
}

/** Measures the forward pass and the training step of every mode at every batch size. @throws DeviceLostError */
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
  // The pipeline runs on the devices of the first distribution.
  for (const d of new Set([device, ...(bench.several?.distributions ?? []).flatMap(({ devices }) => devices)])) {
    const clock = DeviceClock.of(d.gpu)
    if (clock) clocks.set(d, clock)
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
