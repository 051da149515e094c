import { percent, table } from '../train/cli/table.ts'
import { ceilingLine, significant } from './format.ts'
import type { Previous } from './history.ts'
import type { BenchReport, BenchResult } from './runBench.ts'

/** A report in which each result has the last measurement of its target, if there is one. */
export interface ComparedReport extends Omit<BenchReport, 'results'> {
  results: (BenchResult & { previous?: Previous })[]
}

/** Adds the last measurement on the same device to every result. */
export function compare(report: BenchReport, before: ReadonlyMap<string, Previous>): ComparedReport {
  const results = report.results.map((result) => {
    const previous = before.get(result.id)
    return previous ? { ...result, previous } : result
  })
  return { ...report, results }
}

/** Makes the report as text. Impossible times stand in the table too, marked as such. */
export function textReport({ ceilings, results, failures, leftOut }: ComparedReport): string {
  const head = ['target', 'variant', 'shape', 'ms', '[p20 p80]', 'GFLOP/s', 'GB/s', 'of ceiling', 'last time']
  const rows = [
    ...results.map((result) =>
      cells(result, result.previous ? `${significant(result.median / result.previous.median)}x` : '-'),
    ),
    ...failures.flatMap(({ result }) => (result ? [cells(result, 'IMPOSSIBLE')] : [])),
  ]
  const lines = [ceilingLine(ceilings)]
  if (rows.length > 0) lines.push(table(head, rows))
  for (const { id, reason } of failures) lines.push(`FAILED ${id}: ${reason}`)
  if (leftOut > 0) lines.push(`${leftOut} more were left out`)
  return lines.join('\n')
}

function cells(result: BenchResult, remark: string): string[] {
  return [
    `${result.group}/${result.name}`,
    result.variant,
    result.shape,
    significant(result.median),
    `[${significant(result.p20)} ${significant(result.p80)}]`,
    result.flops > 0 ? significant(result.gflops) : '-',
    result.bytes > 0 ? significant(result.gbps) : '-',
    `${percent(result.share)} ${result.bound}`,
    remark,
  ]
}

const CSV_COLUMNS = [
  'group',
  'name',
  'variant',
  'shape',
  'timer',
  'median',
  'p20',
  'p80',
  'samples',
  'flops',
  'bytes',
  'gflops',
  'gbps',
  'bound',
  'share',
  'error',
] as const satisfies readonly (keyof BenchResult)[]

/** Returns the results as comma-separated values with a header line; times in milliseconds. */
export function csvReport({ results }: ComparedReport): string {
  const quote = (value: string | number) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : value)
  const lines = results.map((result) => CSV_COLUMNS.map((column) => quote(result[column])).join(','))
  return [CSV_COLUMNS.join(','), ...lines].join('\n')
}
