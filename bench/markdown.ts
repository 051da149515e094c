import { ceilingLine, significant } from './format.ts'
import type { BenchReport, BenchResult } from './runBench.ts'

/** The headings of the columns whose cells `cellsOf()` makes. */
export const HEAD = ['target', 'variant', 'shape', 'ms', 'p20 to p80', 'GFLOP/s', 'GB/s', 'of ceiling']

/** Makes the cells of a result, as tables show them. */
export function cellsOf({ group, name, variant, shape, median, p20, p80, ...rest }: BenchResult): string[] {
  const { flops, bytes, gflops, gbps, share, bound } = rest
  return [
    `${group}/${name}`,
    variant,
    shape,
    significant(median),
    `${significant(p20)} to ${significant(p80)}`,
    flops > 0 ? significant(gflops) : '',
    bytes > 0 ? significant(gbps) : '',
    `${(100 * share).toFixed(1)} % ${bound}`,
  ]
}

/** Makes the report as Markdown: device and ceilings, then a table. Failures stand below it. */
export function markdownReport({ device, date, ceilings, results, failures }: BenchReport): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [
    `**paraformer bench** on ${device.name}${device.driver ? `, ${device.driver}` : ''}, ${date}`,
    '',
    ceilingLine(ceilings),
    '',
    line(HEAD),
    line(HEAD.map((_, i) => (i < 3 ? '---' : '---:'))),
    ...results.map((result) => line(cellsOf(result))),
    ...failures.map(({ id, reason }) => `\n**failed** ${id}: ${reason}`),
  ].join('\n')
}
