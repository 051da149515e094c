import { type Quantiles, quantile, quantiles } from '../statistics.ts'
import type { Candidate, Pass, PassMemory } from './candidate.ts'
import type { Series } from './measure.ts'

/** The measurements of a candidate at one batch size; times are in milliseconds. */
export interface Row {
  batch: number
  pass: Pass
  architecture: Candidate['architecture']
  name: string
  /** Number of devices that it runs on. */
  devices: number
  /** Time of a forward pass until its logits have reached the host, or of one of several consecutive training steps. */
  time: Quantiles
  /** Time of a single run until its values are there. */
  latency: Quantiles
  /** Number of samples of `time`. */
  samples: number
  /** Time that JavaScript takes for one run. */
  host: number
  hostPerDispatch: number
  /**
   * Time from the first to the last command of a run by the device's clock, the longest of several devices; without a clock the
   * time of one of several consecutive runs.
   */
  device?: number
  dispatches: number
  submits: number
  memory?: PassMemory
  /** Length of the longest chain of dependent dispatches. */
  chain?: number
  /** Bytes that one run moves between devices. */
  moved: number
  /** Norm-relative difference of the values from those of the eager model. */
  error: number
  /** Speedup over the eager ParaFormer, over its captured mode `serial`, and over the captured ViT on one device. */
  speedup: { eager: number; serial: number; vit: number }
}

/** The fields of a row that are not times. */
export type Counted = Pick<Row, 'dispatches' | 'submits' | 'memory' | 'chain' | 'moved' | 'error'>

/** Name of the candidates that run op by op. */
export const EAGER = 'eager serial'

/** Makes the rows of candidates that were timed in turn. */
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

/** Returns the fastest captured mode on one device, by the speedup round by round. */
export function fastest(rows: readonly Row[]): Row | undefined {
  const modes = rows.filter(({ architecture, chain }) => architecture === 'paraformer' && chain !== undefined)
  return modes.sort((a, b) => b.speedup.serial - a.speedup.serial)[0]
}

/**
 * Returns the speedup over `base`: the median of the ratios round by round, on which other work on the machine has little
 * effect.
 */
function faster(base: readonly number[] | undefined, times: readonly number[]): number {
  return base ? median(times.map((time, round) => base[round]! / time)) : Number.NaN
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}
