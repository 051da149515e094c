import { type Quantiles, quantile, quantiles } from '../statistics.ts'
import type { Candidate, Pass, PassMemory } from './candidate.ts'
import type { Series } from './measure.ts'

/** What was measured of a candidate at one batch size; times in milliseconds. */
export interface Row {
  batch: number
  pass: Pass
  architecture: Candidate['architecture']
  name: string
  /** How many it runs on. */
  devices: number
  /** A forward pass until its logits have reached the host, or a training step among several. */
  time: Quantiles
  /** Of one run, nothing else under way. */
  latency: Quantiles
  samples: number
  /** JavaScript of one run, and of one dispatch. */
  host: number
  hostPerDispatch: number
  /** From the first command of a run to its last, by the device's clock, of several devices the longest; of a device without one that of a run among several. */
  device?: number
  dispatches: number
  submits: number
  memory?: PassMemory
  /** Dispatches of the longest chain of which each must follow the one before. */
  chain?: number
  /** Bytes between devices. */
  moved: number
  /** Norm-relative difference of its values to those of the eager model. */
  error: number
  /** How many times as fast it is as ParaFormer run op by op, in mode `serial`, and as the ViT on one device. */
  speedup: { eager: number; serial: number; vit: number }
}

/** What a run counted, beside its times. */
export type Counted = Pick<Row, 'dispatches' | 'submits' | 'memory' | 'chain' | 'moved' | 'error'>

export const EAGER = 'eager serial'

/** Rows of candidates that were timed in turn. */
export function makeRows(
  at: Pick<Row, 'batch' | 'pass'>,
  measured: readonly { candidate: Candidate; series: Series; counted: Counted }[],
): Row[] {
  const timesOf = (series: Series) => (at.pass === 'forward' ? series.latency : series.queued)
  const base = (architecture: Candidate['architecture'], name: string) => {
    const found = measured.find(({ candidate }) => candidate.architecture === architecture && candidate.name === name)
    return found && timesOf(found.series)
  }
  const [eager, serial, vit] = [base('paraformer', EAGER), base('paraformer', 'serial'), base('vit', 'serial')]
  return measured.map(({ candidate, series, counted }): Row => {
    const times = timesOf(series)
    const host = median(series.host)
    const queued = candidate.devices.length === 1 ? series.queued : []
    const device = series.device.length > 0 ? series.device : queued
    return {
      ...at,
      architecture: candidate.architecture,
      name: candidate.name,
      devices: candidate.devices.length,
      time: quantiles(times),
      latency: quantiles(series.latency),
      samples: times.length,
      host,
      hostPerDispatch: host / counted.dispatches,
      ...(device.length > 0 && { device: median(device) }),
      ...counted,
      speedup: { eager: faster(eager, times), serial: faster(serial, times), vit: faster(vit, times) },
    }
  })
}

/** The mode that a measurement would take: of the captured ones on one device the fastest, round by round. */
export function fastest(rows: readonly Row[]): Row | undefined {
  const modes = rows.filter(({ architecture, chain }) => architecture === 'paraformer' && chain !== undefined)
  return modes.sort((a, b) => b.speedup.serial - a.speedup.serial)[0]
}

/** The median of the ratios round by round, which other work on the machine leaves alone. */
function faster(base: readonly number[] | undefined, times: readonly number[]): number {
  return base ? median(times.map((time, round) => base[round]! / time)) : Number.NaN
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}
