import type { TuningRecord } from '../../engine/autotune/database.ts'
import { type Tune, type TuneOptions, type TuneReport, tuneDevice } from '../../engine/autotune/tune.ts'
import type { Device } from '../../engine/index.ts'
import { say } from './printable.ts'
import { Progress } from './progress.ts'

/**
 * Gives the device the kernel variants of `--tune`, and describes on stderr in one line the result of tuning.
 * @param work makes the dispatches that are tuned, see `tuneDevice()`
 */
export async function tune(
  device: Device,
  when: Tune = 'cached',
  work: () => void,
  options: Pick<TuneOptions, 'shouldStop' | 'budget'> = {},
): Promise<void> {
  const progress = when === 'full' ? new Progress({ total: 1 }) : undefined
  const onProgress = (done: number, of: number) => progress?.update(done / of, 'tuning')
  const report = await tuneDevice(device, when, work, { ...options, onProgress }).finally(() => progress?.stop())
  if (report) say(tuningLine(report))
}

/** Describes the result of tuning in one line. */
export function tuningLine({ tuned, known, left, seconds, unkept }: TuneReport): string {
  const faster = tuned.filter(({ variant, fallback }) => variant !== fallback)
  const best = faster.sort((a, b) => gain(b) - gain(a))[0]
  const gains = best ? ` (up to ${gain(best).toFixed(1)}x: ${best.kernel} ${best.sizes.join(' ')}, ${best.variant})` : ''
  return (
    `tuning: ${tuned.length} ${tuned.length === 1 ? 'shape' : 'shapes'} of kernels in ${seconds.toFixed(1)} s, ${faster.length} faster than by default${gains}; ` +
    `${known} known before, ${left} left for the next time${unkept === undefined ? '' : `; not kept: ${unkept}`}`
  )
}

/** Returns how many times as fast the tuned variant is as the default. */
function gain({ ms, variant, fallback }: TuningRecord): number {
  return ms[fallback]! / ms[variant]!
}
