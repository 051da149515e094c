import type { Table } from './data.ts'
import { COLORS } from './theme.ts'

/** A figure, with the description and the table that stand in for it where it cannot be seen. */
export interface Figure {
  title: string
  /** The figure described in a sentence or two. */
  description: string
  /** Vega-Lite specification. */
  spec: object
  /** The text alternative. */
  table: Table
}

/** A row of a figure's data. */
export type Row = Record<string, string | number | null>

/** Dashes that tell arms apart without colour. */
const DASHES = [
  [1, 0],
  [6, 3],
  [2, 2],
  [8, 3, 2, 3],
  [12, 4],
  [4, 6],
  [2, 5],
  [10, 2, 2, 2, 2, 2],
]
const SHAPES = ['circle', 'square', 'triangle-up', 'diamond', 'cross', 'triangle-down', 'triangle-right', 'triangle-left']

const repeated = <T>(values: readonly T[], count: number, shift = false): T[] =>
  Array.from({ length: count }, (_, i) => values[(i + (shift ? Math.floor(i / values.length) : 0)) % values.length]!)

const colors = (kind: 'arm' | 'prefix') => Array.from({ length: COLORS }, (_, i) => `var(--${kind}${i + 1})`)

/** Returns the colour of an arm. */
export function armColor(arms: readonly string[]) {
  return { field: 'arm', type: 'nominal', title: null, scale: { domain: arms, range: repeated(colors('arm'), arms.length) } }
}

/** Returns the colour and dash of an arm's lines. With more arms than colours, the pairs of both still differ. */
export function armLines(arms: readonly string[]) {
  const legend = { symbolType: 'stroke', symbolSize: 500, symbolStrokeWidth: 2 }
  const dashes = { domain: arms, range: repeated(DASHES, arms.length, true) }
  return {
    color: { ...armColor(arms), legend },
    strokeDash: { field: 'arm', type: 'nominal', title: null, scale: dashes, legend },
  }
}

/** Returns the shape of an arm's points. */
export function armShape(arms: readonly string[]) {
  return { field: 'arm', type: 'nominal', title: null, scale: { domain: arms, range: repeated(SHAPES, arms.length, true) } }
}

/** Returns the colour of a prefix; few prefixes take colours that lie far apart. */
export function prefixColor(prefixes: readonly number[]) {
  const range = colors('prefix')
  const last = Math.max(1, prefixes.length - 1)
  return {
    field: 'prefix',
    type: 'ordinal',
    title: 'branches of the prefix',
    scale: { domain: prefixes, range: prefixes.map((_, i) => range[Math.round((i * (COLORS - 1)) / last)]!) },
  }
}

/** Returns the prefixes that are drawn: at most as many as there are colours, the first and the whole model among them. */
export function drawnPrefixes(branches: number): number[] {
  if (branches <= COLORS) return Array.from({ length: branches }, (_, k) => k + 1)
  const at = Array.from({ length: COLORS }, (_, i) => 1 + Math.round((i * (branches - 1)) / (COLORS - 1)))
  return [...new Set(at)]
}

/** Returns a number for Vega, which takes null for what is not finite. */
export function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null
}

/** Returns the name of a metric on an axis. */
export function metricTitle(metric: string): string {
  const [, split, kind] = /^(test|validation|train)(Accuracy|Loss)$/.exec(metric) ?? []
  if (split) return `${split === 'train' ? 'training' : split} ${kind!.toLowerCase()}`
  const [, part, of, prefix] = /^final\.(test|validation)\.(accuracy|loss)\.(\d+)$/.exec(metric) ?? []
  return part ? `${part} ${of} of prefix ${Number(prefix) + 1}` : metric.replace(/^measures\./, '')
}

/** Returns the format of a metric on an axis. */
export function metricFormat(metric: string, digits = 1): string {
  if (/accuracy/i.test(metric)) return `.${digits}%`
  return /flops|bytes|parameters|images|steps/i.test(metric) ? '~s' : '~g'
}

/** Returns the ends of a logarithmic axis, a little beyond the values. */
export function logDomain(values: readonly number[]): [number, number] {
  return [Math.min(...values) / 1.25, Math.max(...values) * 1.25]
}
