import { type Device, requestDevice, UserError } from '../engine/index.ts'
import { checkWritable, writeFile } from '../engine/platform/files.ts'
import { kernelFamilies } from '../kernels/index.ts'
import { announce } from '../train/cli/device.ts'
import { Interrupt } from '../train/cli/interrupt.ts'
import { Progress } from '../train/cli/progress.ts'
import { deviceLossBehind } from '../train/run/restarts.ts'
import { budgetOf } from './doBench.ts'
import type { BenchFlags } from './flags.ts'
import { appendHistory, defaultHistory, previousTimes } from './history.ts'
import { htmlReport } from './html.ts'
import { compare, csvReport, textReport } from './report.ts'
import { type BenchReport, runBench } from './runBench.ts'
import { selectTargets } from './select.ts'
import { idOf, type Target } from './target.ts'
import { tuneTargets } from './tune.ts'

/**
 * Runs `paraformer bench`.
 * @throws UserError for an unknown name, variant, filter or shape, and for a clock that the device lacks
 */
export async function bench(names: readonly string[], flags: BenchFlags): Promise<void> {
  const interrupt = new Interrupt()
  interrupt.says = 'ending after what is timed now; once more ends at once'
  try {
    await benchUntil(interrupt, names, flags)
  } finally {
    interrupt.close()
  }
}

async function benchUntil(interrupt: Interrupt, names: readonly string[], flags: BenchFlags): Promise<void> {
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    if (flags.timer === 'device' && !device.gpu.features.has('timestamp-query')) {
      throw new UserError(`${device.summary.name} has no timestamps; take --timer wall, or another --adapter`)
    }
    const targets = selectTargets(device.capabilities, { ...flags, names })
    if (flags.list) {
      const ids = targets.map(idOf)
      return console.log(flags.json ? JSON.stringify(ids, null, 2) : ids.join('\n'))
    }
    if (flags.html !== undefined) await checkWritable(flags.html)
    if (flags.variant !== undefined) pin(device, flags.variant)
    const history = historyFolder(flags.history)
    const before = history === undefined ? new Map() : await previousTimes(history, device.summary.name)
    announce(device)
    const found = await run(device, targets, { ...flags, names }, interrupt)
    const report = compare(found, before)
    if (flags.json) console.log(JSON.stringify(report, null, 2))
    else if (flags.csv) console.log(csvReport(report))
    else console.log(textReport(report))
    if (history !== undefined && !flags.quick && found.results.length > 0)
      process.stderr.write(`kept in ${await appendHistory(history, found)}\n`)
    if (flags.html !== undefined) await writeFile(flags.html, htmlReport(report))
    if (report.failures.length > 0) process.exitCode = 1
    // The results from before the interrupt are shown and kept by now.
    if (interrupt.asked) interrupt.end()
  } finally {
    device.destroy()
  }
}

async function run(
  device: Device,
  targets: readonly Target[],
  { names, ...flags }: BenchFlags & { names: readonly string[] },
  interrupt: Interrupt,
): Promise<BenchReport> {
  const { software } = device.capabilities
  const budget = budgetOf(software, flags.quick ?? false)
  const progress = new Progress({ total: targets.length })
  const onProgress = (done: number, what: string) => progress.update(done, what)
  try {
    await tuneTargets(device, flags.tune ?? 'cached', targets, onProgress)
    return await runBench(device, targets, {
      budget: { ...budget, time: flags.time ?? budget.time },
      timer: flags.timer,
      flush: flags.flush && !flags.quick,
      quick: flags.quick,
      // Targets that were asked for by name are shown, however long they take.
      endsSoon: flags.quick === true && names.length === 0 && flags.filter === undefined,
      onProgress,
      shouldStop: () => interrupt.asked,
    })
  } catch (error) {
    throw (await deviceLossBehind(error, device)) ?? error
  } finally {
    progress.stop()
  }
}

/** Pins the variant in every kernel that has one of this name, so that ops, layers and models run it. */
function pin(device: Device, variant: string): void {
  for (const { spec } of Object.values(kernelFamilies).flat()) {
    if (spec.variants.some(({ name }) => name === variant)) device.kernels.pinned.set(spec.name, variant)
  }
}

function historyFolder(flag: string | boolean): string | undefined {
  if (flag === false) return undefined
  return typeof flag === 'string' ? flag : defaultHistory()
}
