import { tuneDevice } from '../../engine/autotune/tune.ts'
import { requestDevice } from '../../engine/index.ts'
import { announce } from '../../train/cli/device.ts'
import { givenSettings } from '../../train/cli/options.ts'
import { Progress } from '../../train/cli/progress.ts'
import type { StreamsFlags } from './command.ts'
import { csvReport, textReport } from './report.ts'
import { runStreams } from './runStreams.ts'
import { sizesOf } from './sizes.ts'
import { makeWorkbench } from './workbench.ts'

/** Runs `paraformer bench streams`. @throws UserError for flags that do not fit together */
export async function benchStreams(flags: StreamsFlags): Promise<void> {
  const given = givenSettings({ ...flags })
  if (flags.preset !== undefined) sizesOf(flags.preset, given)
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    const { software } = device.capabilities
    const sizes = sizesOf(flags.preset ?? (software ? 'small' : 'paper'), given)
    announce(device)
    await tuneDevice(device, flags.tune ?? 'cached', () => {})
    const bench = await makeWorkbench(device, sizes, flags.devices)
    const progress = new Progress({ total: 1 })
    try {
      const report = await runStreams(bench, {
        batches: flags.batch ?? (software ? [1, 8] : [1, 8, 64, 256]),
        microBatches: flags.microBatches,
        time: flags.quick ? 0 : (flags.time ?? (software ? 1500 : 500)),
        least: flags.quick ? 1 : 5,
        onProgress: (done, of, what) => progress.update(done / of, what),
      })
      progress.stop()
      if (flags.json) console.log(JSON.stringify(report, null, 2))
      else console.log(flags.csv ? csvReport(report) : textReport(report))
      if (report.failures.length > 0) process.exitCode = 1
    } finally {
      progress.stop()
      await bench.dispose()
    }
  } finally {
    device.destroy()
  }
}
