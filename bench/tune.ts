import { type Tune, type TuneReport, tuneDevice } from '../engine/autotune/tune.ts'
import type { Device } from '../engine/index.ts'
import { tuningLine } from '../train/cli/tune.ts'
import { disposeAll } from './outputs.ts'
import { idOf, type Target } from './target.ts'

/** Milliseconds to tune one target: more than before a training run, since a bench takes minutes anyway. */
const BUDGET = 10_000

/**
 * Sets the kernel variants that ops, layers and models run on a device, as `--tune` says; kernels are timed in every variant
 * anyway. `full` also tunes what is not known yet, and prints one line about it.
 */
export async function tuneTargets(
  device: Device,
  when: Tune,
  targets: readonly Target[],
  onProgress: (done: number, what: string) => void,
): Promise<void> {
  await tuneDevice(device, when === 'full' ? 'cached' : when, () => {})
  if (when !== 'full') return
  const all: TuneReport = { tuned: [], known: 0, left: 0, seconds: 0 }
  for (const [i, target] of targets.entries()) {
    if (target.group === 'kernels') continue
    onProgress(i, `tuning ${idOf(target)}`)
    const prepared = target.prepare(device)
    try {
      const report = await tuneDevice(device, 'full', () => disposeAll(prepared.ops()), { budget: BUDGET })
      const { tuned, known, left, seconds } = report!
      Object.assign(all, report, {
        tuned: [...all.tuned, ...tuned],
        known: all.known + known,
        left: all.left + left,
        seconds: all.seconds + seconds,
      })
    } finally {
      prepared.dispose()
    }
    device.trim()
  }
  process.stderr.write(`${tuningLine(all)}\n`)
}
