import { requestDevice, UserError } from '../../engine/index.ts'
import { announce } from '../../train/cli/device.ts'
import { Interrupt } from '../../train/cli/interrupt.ts'
import { givenSettings } from '../../train/cli/options.ts'
import { Progress } from '../../train/cli/progress.ts'
import { tune } from '../../train/cli/tune.ts'
import type { StreamsFlags } from './flags.ts'
import { csvReport, textReport } from './report.ts'
import { runStreams } from './runStreams.ts'
import { sizesOf } from './sizes.ts'
import type { StreamsReport } from './streamsReport.ts'
import { distributeOver, dryRun, makeModels, type Workbench } from './workbench.ts'

/** Smallest number of rounds, so that the median leaves out a bad one. */
const MIN_ROUNDS = 5

/** Runs `paraformer bench streams`. @throws UserError for flags that do not fit together, or do not fit the device */
export async function benchStreams(flags: StreamsFlags): Promise<void> {
  const interrupt = new Interrupt()
  interrupt.says = 'ending after what is timed now; once more ends at once'
  try {
    await benchUntil(interrupt, flags)
  } finally {
    interrupt.close()
  }
}

async function benchUntil(interrupt: Interrupt, flags: StreamsFlags): Promise<void> {
  const settings = givenSettings({ ...flags })
  if (flags.preset !== undefined) sizesOf(flags.preset, settings)
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    const { software } = device.capabilities
    const usual = flags.quick ? 'quick' : software ? 'small' : 'paper'
    const sizes = sizesOf(flags.preset ?? usual, settings)
    const batches = flags.batch ?? (flags.quick ? [1] : [1, 8, 64, 256])
    if (flags.devices > sizes.paraformer.branches) {
      throw new UserError(`--devices ${flags.devices}: ${sizes.paraformer.branches} branches need at most as many devices`)
    }
    const undivided = batches.find((batch) => flags.microBatches.every((number) => batch % number !== 0))
    if (flags.devices > 1 && undivided !== undefined) {
      throw new UserError(`--micro-batches ${flags.microBatches}: none of them divides a batch of ${undivided}; add 1`)
    }
    announce(device)
    const models = makeModels(device, sizes)
    await tune(device, flags.tune, () => dryRun(models, batches))
    const several = flags.devices > 1 ? await distributeOver(models, flags.devices) : undefined
    try {
      print(await measureAll({ ...models, several }, batches, flags, interrupt), flags)
      // The results from before the interrupt are shown by now.
      if (interrupt.asked) interrupt.end()
    } finally {
      for (const { distributed } of several?.distributions ?? []) await distributed.close()
    }
  } finally {
    device.destroy()
  }
}

async function measureAll(
  bench: Workbench,
  batches: readonly number[],
  flags: StreamsFlags,
  interrupt: Interrupt,
): Promise<StreamsReport> {
  const { software } = bench.device.capabilities
  const progress = new Progress({ total: 1 })
  try {
    return await runStreams(bench, {
      batches,
      microBatches: flags.microBatches,
      time: flags.quick ? 0 : (flags.time ?? (software ? 1500 : 500)),
      minRounds: flags.quick ? 1 : MIN_ROUNDS,
      onProgress: (done, of, what) => progress.update(done / of, what),
      shouldStop: () => interrupt.asked,
    })
  } finally {
    progress.stop()
  }
}

function print(report: StreamsReport, { json, csv }: StreamsFlags): void {
  if (json) console.log(JSON.stringify(report, null, 2))
  else console.log(csv ? csvReport(report) : textReport(report))
  if (report.failures.length > 0) process.exitCode = 1
}
