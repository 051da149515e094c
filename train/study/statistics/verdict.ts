import type { PairedDifference } from './intervals.ts'

/** The conclusion of a study about a claim. */
export type Verdict = 'supported' | 'not supported' | 'inconclusive'

/** Probability of calling a difference real that is not, over all comparisons of a claim. */
export const ALPHA = 0.05

/**
 * Corrects p-values by Holm's method, such that the chance of any false finding among all stays below the level they are
 * compared with (Holm, Scandinavian Journal of Statistics 6, 1979).
 * @returns adjusted p-values in the order given
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a]! - pValues[b]!)
  const adjusted: number[] = []
  let highest = 0
  order.forEach((at, rank) => {
    highest = Math.max(highest, Math.min(1, (pValues.length - rank) * pValues[at]!))
    adjusted[at] = highest
  })
  return adjusted
}

/** A comparison of two arms that a claim rests on. */
export interface Comparison {
  difference: PairedDifference
  /** Whether the claim says that the first arm's metric is higher or lower. */
  better: 'higher' | 'lower'
  /** The amount by which the first arm's metric must be better, at least 0, in its units. */
  margin: number
}

/**
 * Gives the verdict on each comparison of a claim: supported where the difference beats the margin in the claimed direction and
 * the corrected p-value is below `ALPHA`; not supported where it certainly falls short of it; inconclusive otherwise.
 * @param comparisons their p-values are of a test against the margin in the claimed direction
 */
export function verdicts(comparisons: readonly Comparison[]): { verdict: Verdict; p: number }[] {
  const corrected = holm(comparisons.map(({ difference }) => difference.p))
  return comparisons.map(({ difference, better, margin }, i) => {
    const p = corrected[i]!
    const gain = better === 'higher' ? difference.mean : -difference.mean
    if (p >= ALPHA || gain === margin) return { verdict: 'inconclusive', p }
    return { verdict: gain > margin ? 'supported' : 'not supported', p }
  })
}
