import { UserError } from '../../../engine/index.ts'
import { CounterRandom } from '../../../kernels/random/counterRandom.ts'
import { Purpose } from '../../data/random.ts'
import { tQuantile, tTail } from './studentT.ts'

/** A value with the interval that holds the true one at some level of confidence. */
export interface Interval {
  mean: number
  low: number
  high: number
}

/** Share of the intervals that hold the true value, unless another level is named. */
export const LEVEL = 0.95
const RESAMPLES = 10_000

/** @throws UserError unless there are at least `least` numbers, all finite */
function checkValues(values: readonly number[], least: number): void {
  if (values.length < least) throw new UserError(`statistics of ${values.length} values need at least ${least}; run more seeds`)
  if (!values.every(Number.isFinite)) throw new UserError('statistics need finite numbers; a run ended in NaN or infinity')
}

/** @throws UserError for no values, or values that are not finite */
export function mean(values: readonly number[]): number {
  checkValues(values, 1)
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/**
 * Computes the standard deviation of the population that `values` are a sample of (n - 1 in the denominator).
 * @throws UserError for fewer than two
 */
export function standardDeviation(values: readonly number[]): number {
  checkValues(values, 2)
  const center = mean(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1))
}

/**
 * Computes the mean with Student's t interval, for values that are about normal.
 * @throws UserError for fewer than two values, or values that are not finite
 */
export function tInterval(values: readonly number[], level = LEVEL): Interval {
  const half = (tQuantile(level, values.length - 1) * standardDeviation(values)) / Math.sqrt(values.length)
  const center = mean(values)
  return { mean: center, low: center - half, high: center + half }
}

/**
 * Computes the mean of the middle half of the values (Agarwal et al., arXiv 2108.13264), as SciPy's `trim_mean(values, 0.25)`
 * gives it.
 */
export function interquartileMean(values: readonly number[]): number {
  checkValues(values, 1)
  const cut = Math.floor(0.25 * values.length)
  return mean(values.toSorted((a, b) => a - b).slice(cut, values.length - cut))
}

export interface BootstrapOptions {
  level?: number
  resamples?: number
  /** The seed of the resampling; one seed gives one interval. */
  seed?: number
}

/**
 * Computes the interval between quantiles of a statistic over resamples of the values with replacement (Efron's percentile
 * bootstrap).
 * @throws UserError for fewer than two values, or values that are not finite
 */
export function bootstrapInterval(
  values: readonly number[],
  statistic: (values: readonly number[]) => number = mean,
  { level = LEVEL, resamples = RESAMPLES, seed = 0 }: BootstrapOptions = {},
): Interval {
  checkValues(values, 2)
  const random = new CounterRandom(seed, [0, 0, Purpose.bootstrap])
  const found = Float64Array.from({ length: resamples }, () =>
    statistic(values.map(() => values[random.below(values.length)]!)),
  ).sort()
  const at = (share: number) => quantile(found, share)
  return { mean: statistic(values), low: at((1 - level) / 2), high: at((1 + level) / 2) }
}

/** Interpolates linearly between the neighbours in sorted values, as NumPy does. */
function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = share * (sorted.length - 1)
  const below = Math.floor(place)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!)
}

/** The difference of two arms over the seeds that they share. */
export interface PairedDifference extends Interval {
  /** Student's t interval of the mean difference; `low` and `high` are the bootstrap's. */
  t: Interval
  /** The two-sided p-value of the paired t-test that the mean difference is `margin`. */
  p: number
  /** The difference at each seed. */
  differences: number[]
}

/**
 * Computes the differences a - b, seed by seed, with a bootstrap interval, a t interval and the paired t-test.
 * @param options.margin the difference that the test compares with, default 0
 * @throws UserError for lists of different lengths, fewer than two pairs, or values that are not finite
 */
export function pairedDifference(
  a: readonly number[],
  b: readonly number[],
  options: BootstrapOptions & { margin?: number } = {},
): PairedDifference {
  const { margin = 0 } = options
  if (a.length !== b.length)
    throw new UserError(`a paired difference of ${a.length} and ${b.length} values; use the same seeds`)
  checkValues(b, 2)
  checkValues(a, 2)
  const differences = a.map((value, i) => value - b[i]!)
  const deviation = standardDeviation(differences)
  const center = mean(differences)
  const t = (center - margin) / (deviation / Math.sqrt(a.length))
  // Differences that are all the same are either exactly the margin, or certainly another number.
  const p = deviation === 0 ? Number(center === margin) : tTail(t, a.length - 1)
  return { ...bootstrapInterval(differences, mean, options), t: tInterval(differences, options.level), p, differences }
}

/**
 * Computes the half-width of the interval of an accuracy that comes from the number of test images alone, by the normal
 * approximation.
 * @param accuracy share of `count` images, 0 to 1
 */
export function samplingError(accuracy: number, count: number): number {
  return 1.959963984540054 * Math.sqrt((accuracy * (1 - accuracy)) / count)
}
