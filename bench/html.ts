import { ceilingLine, significant } from './format.ts'
import { cellsOf, HEAD } from './markdown.ts'
import type { ComparedReport } from './report.ts'
import { escapeHtml, roofline } from './roofline.ts'
import type { BenchResult } from './runBench.ts'

const STYLE = `
:root { color-scheme: light dark; --ink: #222; --soft: #888; --grid: #ddd; --back: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --soft: #999; --grid: #333; --back: #181818; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--grid); } .roof { stroke: var(--ink); stroke-width: 2; fill: none; } .soft { fill: var(--soft); }
.failed { color: #c33; }`

/** Makes the report as an HTML page with a roofline plot and a table. The page needs no scripts and no other files. */
export function htmlReport(report: ComparedReport): string {
  const { device, date, ceilings, results, failures } = report
  const title = `paraformer bench on ${device.name}`
  const line = (result: BenchResult, remark: string, failed: boolean) => row([...cellsOf(result), remark], failed)
  const rows = [
    ...results.map((result) =>
      line(result, result.previous ? `${significant(result.median / result.previous.median)}x` : '', false),
    ),
    ...failures.flatMap(({ result }) => (result ? [line(result, 'impossible', true)] : [])),
  ]
  const head = [...HEAD, 'last time']
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(`${device.driver}, ${date}`)}<br>${escapeHtml(ceilingLine(ceilings))}</p>
${roofline(report)}
<table>
<thead><tr>${head.map((cell) => `<th>${cell}</th>`).join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
${failures.map(({ id, reason }) => `<p class="failed">${escapeHtml(`${id}: ${reason}`)}</p>`).join('\n')}
</html>
`
}

function row(cells: readonly string[], failed: boolean): string {
  return `<tr${failed ? ' class="failed"' : ''}>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`
}
