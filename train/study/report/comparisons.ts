import type { ArmSummary } from './arms.ts'
import type { Claim } from './claims.ts'
import { armColor, type Figure, finite, metricFormat, metricTitle, type Row } from './figure.ts'

/** Draws every seed of every arm, with the mean, its interval and the sampling error of the test images. */
export function seedFigure(summaries: readonly ArmSummary[], metric: string): Figure | undefined {
  const drawn = summaries.filter(({ values }) => values.some(Number.isFinite))
  if (drawn.length === 0) return undefined
  const arms = drawn.map(({ arm }) => arm)
  const points: Row[] = drawn.flatMap(({ arm, values }) => values.map((value) => ({ arm, value: finite(value) })))
  const means: Row[] = drawn.map(({ arm, mean, low, high, sampling }) => ({
    arm,
    value: finite(mean),
    low: finite(low),
    high: finite(high),
    least: finite(sampling === undefined ? undefined : mean! - sampling),
    most: finite(sampling === undefined ? undefined : mean! + sampling),
  }))
  const title = metricTitle(metric)
  const y = { field: 'arm', type: 'nominal', title: null, sort: arms }
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title,
    scale: { zero: false },
    axis: { format: metricFormat(metric) },
  })
  const color = { ...armColor(arms), legend: null }
  return {
    title: `Every seed: ${title}`,
    description:
      'Circles are seeds. Below them, a diamond is the mean with Student’s t interval (95 %); the thin dashed line is the sampling error of ' +
      'the test images alone (95 %), whatever the seeds say.',
    spec: {
      width: 620,
      height: { step: 46 },
      layer: [
        {
          data: { values: points },
          mark: { type: 'point', size: 50, filled: false, yOffset: -7, strokeWidth: 1.6 },
          encoding: { x: x('value'), y, color },
        },
        {
          data: { values: means },
          mark: { type: 'rule', yOffset: 7, strokeWidth: 2.4 },
          encoding: { x: x('low'), x2: { field: 'high' }, y, color },
        },
        {
          data: { values: means },
          mark: { type: 'point', shape: 'diamond', filled: true, size: 90, yOffset: 7 },
          encoding: { x: x('value'), y, color },
        },
        {
          data: { values: means },
          mark: { type: 'rule', yOffset: 14, strokeWidth: 1, strokeDash: [3, 2] },
          encoding: { x: x('least'), x2: { field: 'most' }, y, color },
        },
      ],
    },
    table: {
      columns: ['arm', 'seeds', 'mean', 'low', 'high', 'sampling error ±', 'every seed'],
      rows: summaries.map((summary) => [
        summary.arm,
        summary.values.length,
        summary.mean,
        summary.low,
        summary.high,
        summary.sampling,
        summary.values.map((value) => Number(value.toPrecision(6))).join(', '),
      ]),
    },
  }
}

/** Draws the paired differences on which claims are decided. */
export function differenceFigure(claims: readonly Claim[], metric: string): Figure | undefined {
  const compared = claims.flatMap(({ comparisons }) => comparisons).filter(({ difference }) => difference !== undefined)
  if (compared.length === 0) return undefined
  const pairOf = ({ sides }: (typeof compared)[number]) => sides.join(' − ')
  const pairs = [...new Set(compared.map(pairOf))]
  const values: Row[] = compared.map((comparison) => ({
    pair: pairOf(comparison),
    mean: comparison.difference!.mean,
    low: comparison.difference!.low,
    high: comparison.difference!.high,
    margin: (comparison.rule.better === 'higher' ? 1 : -1) * (comparison.rule.margin ?? 0),
  }))
  const seeds: Row[] = compared.flatMap((comparison) =>
    comparison.difference!.differences.map((difference) => ({ pair: pairOf(comparison), mean: difference })),
  )
  const y = { field: 'pair', type: 'nominal', title: null, sort: pairs }
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title: `paired difference of ${metricTitle(metric)}`,
    axis: { format: metricFormat(metric, 2) },
  })
  return {
    title: 'Paired differences',
    description:
      'Circles are the differences at each seed. A diamond is their mean with the bootstrap interval (95 %); the vertical line is 0, and a ' +
      'short bar is the margin that the claim asks for.',
    spec: {
      width: 620,
      height: { step: 40 },
      layer: [
        { data: { values: [{ mean: 0 }] }, mark: { type: 'rule', strokeWidth: 1 }, encoding: { x: x('mean') } },
        {
          data: { values: seeds },
          mark: { type: 'point', size: 45, filled: false, yOffset: -7, color: 'var(--arm1)' },
          encoding: { x: x('mean'), y },
        },
        {
          data: { values },
          mark: { type: 'tick', thickness: 2, size: 16, color: 'var(--arm2)' },
          encoding: { x: x('margin'), y },
        },
        {
          data: { values },
          mark: { type: 'rule', strokeWidth: 2.4, yOffset: 7, color: 'var(--ink)' },
          encoding: { x: x('low'), x2: { field: 'high' }, y },
        },
        {
          data: { values },
          mark: { type: 'point', shape: 'diamond', filled: true, size: 90, yOffset: 7, color: 'var(--ink)' },
          encoding: { x: x('mean'), y },
        },
      ],
    },
    table: {
      columns: ['comparison', 'seeds', 'mean', 'low', 'high', 'margin', 'p (Holm)', 'verdict'],
      rows: compared.map((comparison) => [
        pairOf(comparison),
        comparison.seeds.length,
        comparison.difference!.mean,
        comparison.difference!.low,
        comparison.difference!.high,
        comparison.rule.margin ?? 0,
        comparison.p,
        comparison.verdict,
      ]),
    },
  }
}
