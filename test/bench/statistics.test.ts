import { knownDifference, normDifference, quantile, quantiles } from '../../bench/statistics.ts'
import { within } from '../../bench/target.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('statistics of measurements')

function equal(actual: unknown, expected: unknown): void {
  if (!Object.is(actual, expected)) throw new Error(`got ${actual}, expected ${expected}`)
}

function throws(fn: () => unknown): void {
  try {
    fn()
  } catch {
    return
  }
  throw new Error('did not throw')
}

test('quantiles are linear between neighbours, as NumPy has them', () => {
  equal(quantile([1, 2, 3, 4], 0), 1)
  equal(quantile([1, 2, 3, 4], 1), 4)
  equal(quantile([1, 2, 3, 4], 0.5), 2.5)
  equal(quantile([10, 20, 30, 40, 50, 60], 0.2), 20)
  equal(quantile([0, 10], 0.25), 2.5)
  equal(quantile([7], 0.8), 7)
  throws(() => quantile([], 0.5))
})

test('samples come in any order and stay as they are', () => {
  const samples = [5, 1, 4, 2, 3, 100]
  const { median, p20, p80 } = quantiles(samples)
  equal(median, 3.5)
  equal(p20, 2)
  equal(p80, 5)
  equal(samples.join(), '5,1,4,2,3,100')
})

test('a numeric sort, not one of texts', () => equal(quantiles([9, 10, 100]).median, 10))

test('differences are relative to the norm, over what is expected', () => {
  equal(normDifference([3, 4], [3, 4]), 0)
  equal(normDifference([3, 5], [3, 4]), 1 / 5)
  equal(normDifference([3, 999], [3, Number.NaN]), Number.NaN)
  equal(knownDifference([3, 999], [3, Number.NaN]), 0)
  equal(normDifference([0.5], [0]), 0.5)
  throws(() => normDifference([1], [1, 2]))
})

test('infinities are met exactly or not at all', () => {
  const [up, down] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  equal(normDifference([up, 3, down], [up, 3, down]), 0)
  for (const [actual, expected] of [
    [
      [up, 3],
      [down, 3],
    ],
    [
      [5, 3],
      [up, 3],
    ],
    [
      [up, 3],
      [5, 3],
    ],
    [
      [Number.NaN, 3],
      [up, 3],
    ],
  ] as const) {
    throws(() => within(normDifference(actual, expected), 1e6, 'infinity'))
  }
})

test('a comparison of nothing is none', () => {
  throws(() => normDifference([], []))
  throws(() => knownDifference([1, 2], [Number.NaN, Number.NaN]))
})

test('NaN never passes', () => {
  equal(knownDifference([Number.NaN, 4], [3, Number.NaN]), Number.NaN)
  equal(normDifference([Number.NaN, 4], [3, 4]), Number.NaN)
  throws(() => within(Number.NaN, 1, 'NaN'))
  throws(() => within(1.5, 1, 'too far'))
  equal(within(1, 1, 'just'), 1)
})

run()
