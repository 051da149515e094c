// The expected values are SciPy's 1.17.1: stats.t.ppf and sf, special.betainc, ttest_rel, trim_mean, bootstrap.

import {
  bootstrapInterval,
  holm,
  interquartileMean,
  mean,
  pairedDifference,
  samplingError,
  standardDeviation,
  tInterval,
  verdicts,
} from '../../train/study/statistics/index.ts'
import { incompleteBeta, tQuantile, tTail } from '../../train/study/statistics/studentT.ts'
import { suite } from '../harness/suite.ts'
import { throws } from '../train/userError.ts'

const { test, run } = suite('statistics')

/** @throws Error unless the numbers agree to a relative `tolerance` */
function close(what: string, actual: number, expected: number, tolerance = 1e-9): void {
  if (!(Math.abs(actual - expected) <= tolerance * Math.max(Math.abs(expected), 1e-300))) {
    throw new Error(`${what}: ${actual}, expected ${expected}`)
  }
}

/** Level, degrees of freedom, t. */
const QUANTILES: readonly [number, number, number][] = [
  [0.5, 1, 1.0000000000000002],
  [0.5, 2, 0.8164965809277261],
  [0.5, 4, 0.7406970841126829],
  [0.5, 9, 0.7027221467513264],
  [0.5, 30, 0.6827556933212927],
  [0.5, 1000, 0.6747351646070093],
  [0.9, 1, 6.313751514675037],
  [0.9, 2, 2.9199855803537242],
  [0.9, 4, 2.1318467863266495],
  [0.9, 9, 1.833112932656237],
  [0.9, 30, 1.697260886593957],
  [0.9, 1000, 1.6463788172854643],
  [0.95, 1, 12.706204736174694],
  [0.95, 2, 4.302652729749462],
  [0.95, 4, 2.7764451051977934],
  [0.95, 9, 2.262157162798205],
  [0.95, 30, 2.0422724563012378],
  [0.95, 1000, 1.9623390808264083],
  [0.99, 1, 63.656741162871526],
  [0.99, 2, 9.924843200918287],
  [0.99, 4, 4.604094871349992],
  [0.99, 9, 3.249835541592126],
  [0.99, 30, 2.7499956535672254],
  [0.99, 1000, 2.580754698065951],
  [0.999, 1, 636.6192487687897],
  [0.999, 2, 31.599054576445365],
  [0.999, 4, 8.610301581379522],
  [0.999, 9, 4.780912585931217],
  [0.999, 30, 3.6459586350420627],
  [0.999, 1000, 3.300282648423944],
]
/** t, degrees of freedom, probability of a value at least as far from 0. */
const TAILS: readonly [number, number, number][] = [
  [0.1, 1, 0.936548965138893],
  [0.1, 3, 0.9266523488008059],
  [0.1, 4, 0.9251558409394532],
  [0.1, 20, 0.9213399413456138],
  [0.1, 400, 0.9203944248885484],
  [1.0, 1, 0.5000000000000001],
  [1.0, 3, 0.3910022189557705],
  [1.0, 4, 0.37390096630005887],
  [1.0, 20, 0.32925657717170936],
  [1.0, 400, 0.31791505643751394],
  [2.5, 1, 0.24223788318168682],
  [2.5, 3, 0.08770664700806556],
  [2.5, 4, 0.06676654481198814],
  [2.5, 20, 0.02123354543913238],
  [2.5, 400, 0.012818866763431584],
  [12.0, 1, 0.052929352119179755],
  [12.0, 3, 0.0012450158007893362],
  [12.0, 4, 0.000276428548502973],
  [12.0, 20, 1.359555702588066e-10],
  [12.0, 400, 1.508426338306566e-28],
]
/** x, a, b, I_x(a, b). */
const BETAS: readonly [number, number, number, number][] = [
  [1e-6, 0.5, 0.5, 0.0006366198784709245],
  [1e-6, 2, 0.5, 3.7500012500007017e-13],
  [1e-6, 30, 0.5, 1.0257822264320517e-181],
  [1e-6, 3, 7, 8.399962200075597e-17],
  [0.2, 0.5, 0.5, 0.2951672353008665],
  [0.2, 2, 0.5, 0.016130089900092546],
  [0.2, 30, 0.5, 1.2265219714158866e-22],
  [0.2, 3, 7, 0.26180249600000016],
  [0.5, 0.5, 0.5, 0.5000000000000001],
  [0.5, 2, 0.5, 0.11611652351681556],
  [0.5, 30, 0.5, 1.3302059355529255e-10],
  [0.5, 3, 7, 0.91015625],
  [0.93, 0.5, 0.5, 0.8295365716168013],
  [0.93, 2, 0.5, 0.6123974329290376],
  [0.93, 30, 0.5, 0.03770395109796603],
  [0.93, 3, 7, 0.9999997387128653],
]
const A = [0.8812, 0.8795, 0.8841, 0.8807, 0.8823, 0.879, 0.8835]
const B = [0.8754, 0.8761, 0.8779, 0.8783, 0.8746, 0.8771, 0.8768]

test("Student's t distribution and the incomplete beta function", () => {
  for (const [level, degrees, t] of QUANTILES) close(`quantile ${level}, ${degrees}`, tQuantile(level, degrees), t)
  for (const [t, degrees, tail] of TAILS) close(`tail ${t}, ${degrees}`, tTail(t, degrees), tail)
  for (const [x, a, b, value] of BETAS) close(`I_${x}(${a}, ${b})`, incompleteBeta(x, a, b), value)
})

test('mean, standard deviation and the t interval', () => {
  close('mean', mean(A), 0.8814714285714285)
  close('deviation', standardDeviation(A), 0.0019310742137596886)
  const { low, high } = tInterval(A)
  close('low', low, 0.8796854827951462)
  close('high', high, 0.8832573743477107)
})

test('interquartile mean', () => {
  const lists = [[1, 2, 3, 4, 100], [5], [1, 9, 2, 8, 3, 7, 4, 6], [1, 2, 3, 4, 5, 6, 7, 8, 9].concat(10)]
  for (const [i, value] of [3, 5, 5, 5.5].entries()) close(`list ${i}`, interquartileMean(lists[i]!), value)
})

test('paired difference: the t-test, its interval, another margin, and the bootstrap of a seed', () => {
  const found = pairedDifference(A, B)
  close('p', found.p, 0.0013028720174827538)
  close('low', found.t.low, 0.0027667089178442226)
  close('high', found.t.high, 0.006976148225012895)
  close('p of a margin', pairedDifference(A, B, { margin: 0.003 }).p, 0.07249069844462071)
  // SciPy's has 200,000 resamples of another generator: within a few thousandths of the width.
  close('bootstrap low', found.low, 0.0033000000000000013, 0.02)
  close('bootstrap high', found.high, 0.006385714285714249, 0.02)
  const again = bootstrapInterval(found.differences)
  if (again.low !== found.low || again.high !== found.high) throw new Error('one seed gives one interval')
  if (bootstrapInterval(found.differences, mean, { seed: 1 }).low === found.low) throw new Error('another seed draws others')
})

test('the bootstrap interval holds the mean about as often as it says', () => {
  // Uniform numbers in [0, 1), 40 a sample; of 400 samples 95 % hold 0.5, give or take 4 standard errors.
  let state = 1
  const uniform = () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
  let hits = 0
  for (let i = 0; i < 400; i++) {
    const sample = Array.from({ length: 40 }, uniform)
    const { low, high } = bootstrapInterval(sample, mean, { resamples: 1000, seed: i })
    if (low <= 0.5 && 0.5 <= high) hits++
  }
  if (!(Math.abs(hits / 400 - 0.94) < 0.044)) throw new Error(`${hits} of 400`)
})

test("Holm's correction: the textbook's example, ties, order, and the cap at 1", () => {
  const cases: [number[], number[]][] = [
    [
      [0.01, 0.04, 0.03, 0.005],
      [0.03, 0.06, 0.06, 0.02],
    ],
    [
      [0.5, 0.9],
      [1, 1],
    ],
    [[0.04], [0.04]],
    [[], []],
  ]
  for (const [pValues, expected] of cases) for (const [i, p] of holm(pValues).entries()) close(`${pValues}`, p, expected[i]!)
})

test('verdicts: a planted effect is supported, its opposite not, arms that are the same are inconclusive', () => {
  const compare = (a: number[], b: number[], better: 'higher' | 'lower', margin = 0) => ({
    difference: pairedDifference(a, b, { margin: better === 'higher' ? margin : -margin }),
    better,
    margin,
  })
  const all = [
    compare(A, B, 'higher'),
    compare(A, B, 'lower'),
    compare(B, A, 'lower'),
    compare(A, A, 'higher'),
    compare(A, B, 'higher', 0.01),
    compare(A, B, 'higher', 0.0045),
  ]
  const expected = ['supported', 'not supported', 'supported', 'inconclusive', 'not supported', 'inconclusive']
  const found = verdicts(all).map(({ verdict }) => verdict)
  if (found.join() !== expected.join()) throw new Error(`${found}`)
  // One comparison of a claim alone is significant here, among twenty that are not it is not.
  const weak = compare(A, B, 'higher', 0.0027)
  const [alone] = verdicts([weak])
  const [among] = verdicts([weak, ...Array.from({ length: 19 }, () => compare(A, A, 'higher'))])
  if (alone!.verdict !== 'supported' || among!.verdict !== 'inconclusive')
    throw new Error(`${alone!.verdict} ${among!.verdict}`)
})

test('sampling error of an accuracy', () => {
  close('90 % of 10,000', samplingError(0.9, 10_000), 0.00587989194, 1e-8)
})

test('too few values, other seeds, NaN', () => {
  throws(() => tInterval([1]), /need at least 2/)
  throws(() => mean([]), /need at least 1/)
  throws(() => pairedDifference([1, 2], [1, 2, 3]), /of 2 and 3 values/)
  throws(() => tInterval([1, Number.NaN]), /NaN or infinity/)
})

run()
