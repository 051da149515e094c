/** Median and spread of a measurement. */
export interface Quantiles {
  median: number
  p20: number
  p80: number
}

/**
 * Returns the q-quantile, interpolated linearly between neighbours as by NumPy's default.
 * @param sorted samples in ascending order, at least one
 */
export function quantile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) throw new Error('no samples')
  const at = q * (sorted.length - 1)
  const low = Math.floor(at)
  const below = sorted[low]!
  const above = sorted[Math.min(low + 1, sorted.length - 1)]!
  return below + (at - low) * (above - below)
}

/** Returns the median, p20 and p80 of samples in any order. */
export function quantiles(samples: readonly number[]): Quantiles {
  const sorted = [...samples].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), p20: quantile(sorted, 0.2), p80: quantile(sorted, 0.8) }
}

/**
 * Returns the norm-relative difference of two lists. NaN on either side gives NaN, which passes no comparison.
 * @throws Error for lists of different lengths, and for empty lists, which would be equal whatever was computed
 */
export function normDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  return differenceWhere(actual, expected, () => true)
}

/**
 * Returns the norm-relative difference over the known elements: NaN in `expected` stands for an unknown one.
 * @throws Error for lists of different lengths, and when no element is known
 */
export function knownDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  return differenceWhere(actual, expected, (want) => !Number.isNaN(want))
}

function differenceWhere(actual: ArrayLike<number>, expected: ArrayLike<number>, isKnown: (want: number) => boolean): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`)
  let difference = 0
  let norm = 0
  let known = 0
  for (let i = 0; i < expected.length; i++) {
    const want = expected[i]!
    if (!isKnown(want)) continue
    known++
    // An infinity that is expected and met adds nothing.
    if (actual[i] === want && !Number.isFinite(want)) continue
    difference += (actual[i]! - want) ** 2
    norm += want ** 2
  }
  if (known === 0) throw new Error('there is nothing to compare with')
  return Math.sqrt(difference) / (norm > 0 ? Math.sqrt(norm) : 1)
}
