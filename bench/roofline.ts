import { significant } from './format.ts'
import type { ComparedReport } from './report.ts'
import { GROUPS, type Group } from './target.ts'

/** Sides of the plot in pixels. */
interface Size {
  width: number
  height: number
}

const SIZE: Size = { width: 960, height: 520 }
const MARGIN = { left: 70, right: 20, top: 20, bottom: 50 }
const COLORS: Record<Group, string> = { kernels: '#3b7dd8', ops: '#2a9d62', layers: '#c77d1e', models: '#b04ac0' }

/** A logarithmic axis from one power of ten to another. */
interface Axis {
  from: number
  to: number
  at(value: number): number
}

function axis(values: readonly number[], start: number, end: number): Axis {
  const from = Math.floor(Math.log10(Math.min(...values)))
  const to = Math.max(from + 1, Math.ceil(Math.log10(Math.max(...values))))
  return { from, to, at: (value) => start + ((Math.log10(value) - from) / (to - from)) * (end - start) }
}

/**
 * Draws the roofline plot as SVG: GFLOP/s over operations per byte, both logarithmic. Each result that counts both is a point
 * with a tooltip, under the roof of memory bandwidth and multiply-add rate.
 */
export function roofline({ results, ceilings }: Pick<ComparedReport, 'results' | 'ceilings'>, size = SIZE): string {
  const { width, height } = size
  const points = results.filter(({ flops, bytes }) => flops > 0 && bytes > 0)
  const { gflops, gbps } = ceilings
  const ridge = gflops / gbps
  const x = axis(
    [...points.map(({ flops, bytes }) => flops / bytes), ridge / 10, ridge * 10],
    MARGIN.left,
    width - MARGIN.right,
  )
  const y = axis([...points.map((point) => point.gflops), gflops / 100, gflops], height - MARGIN.bottom, MARGIN.top)
  const [left, right] = [10 ** x.from, 10 ** x.to]
  const lowest = 10 ** y.from
  // The sloped part of the roof begins at the left or at the lower side of the plot.
  const start = Math.max(left, lowest / gbps)
  const roof = [
    [start, start * gbps],
    [ridge, gflops],
    [right, gflops],
  ].map(([intensity, rate]) => `${place(x.at(intensity!))},${place(y.at(rate!))}`)
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Roofline plot">
${verticals(x, size).join('\n')}
${horizontals(y, size).join('\n')}
<text x="${width / 2}" y="${height - 8}" text-anchor="middle">FLOP per byte</text>
<text x="16" y="${height / 2}" text-anchor="middle" transform="rotate(-90 16 ${height / 2})">GFLOP/s</text>
<polyline class="roof" points="${roof.join(' ')}"/>
${points.map((point) => dot(point, x, y)).join('\n')}
${legend(points.map(({ group }) => group)).join('\n')}
</svg>`
}

function dot({ id, group, flops, bytes, gflops, share }: ComparedReport['results'][number], x: Axis, y: Axis): string {
  const label = `${id}: ${significant(gflops)} GFLOP/s, ${(100 * share).toFixed(1)} % of the ceiling`
  return (
    `<circle cx="${place(x.at(flops / bytes))}" cy="${place(y.at(gflops))}" r="5" fill="${COLORS[group]}" fill-opacity="0.7">` +
    `<title>${escapeHtml(label)}</title></circle>`
  )
}

function verticals({ from, to, at }: Axis, { height }: Size): string[] {
  return powers(from, to).map((power) => {
    const x = place(at(10 ** power))
    const line = `<line class="grid" x1="${x}" x2="${x}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}"/>`
    return `${line}<text class="soft" x="${x}" y="${height - MARGIN.bottom + 18}" text-anchor="middle">${label(power)}</text>`
  })
}

function horizontals({ from, to, at }: Axis, { width }: Size): string[] {
  return powers(from, to).map((power) => {
    const y = place(at(10 ** power))
    const line = `<line class="grid" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${y}" y2="${y}"/>`
    return `${line}<text class="soft" x="${MARGIN.left - 8}" y="${y}" dy="4" text-anchor="end">${label(power)}</text>`
  })
}

function legend(present: readonly Group[]): string[] {
  return GROUPS.filter((group) => present.includes(group)).map((group, i) => {
    const y = MARGIN.top + 18 + 20 * i
    return `<circle cx="${MARGIN.left + 20}" cy="${y}" r="5" fill="${COLORS[group]}"/><text x="${MARGIN.left + 32}" y="${y + 4}">${group}</text>`
  })
}

function powers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

function label(power: number): string {
  return power >= -3 && power <= 5 ? String(Number((10 ** power).toPrecision(1))) : `1e${power}`
}

function place(value: number): string {
  return value.toFixed(1)
}

/** Returns a text with the characters escaped that SVG and HTML would read as markup. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
