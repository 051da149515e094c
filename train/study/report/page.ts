import { type Claim, MIN_SEEDS } from './claims.ts'
import { csv, jsonl, type Table } from './data.ts'
import type { Figure } from './figure.ts'
import { escapeHtml, html, htmlTable, Markup, shown } from './markup.ts'
import { SCRIPT, STYLE } from './theme.ts'

/** A drawn figure. */
export interface Drawn extends Figure {
  /** An SVG element. */
  svg: string
}

/** A part of the page: a study, or the runs that belong to none. */
export interface Section {
  id: string
  title: string
  /** The statement of the study, by the names of its fields. */
  stated: readonly (readonly [string, string])[]
  claims: readonly Claim[]
  deviations: readonly string[]
  /** The arms in numbers. */
  arms: Table | undefined
  figures: readonly Drawn[]
  /** Tables that stand after the figures. */
  tables: readonly (readonly [caption: string, table: Table])[]
  /** The command that draws the figures again. */
  command: string
  /** The commands that made the runs. */
  made: readonly string[]
}

export interface Page {
  title: string
  sections: readonly Section[]
  /** The files and values that were left out, and why. */
  notes: readonly string[]
  /** Tables over all sections. */
  tables: readonly (readonly [caption: string, table: Table])[]
  /** Tables to download, by name. */
  data: Readonly<Record<string, Table>>
}

/** The policy of the page, which may load nothing from anywhere. */
const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

/** Returns the whole HTML file. */
export function renderPage({ title, sections, notes, tables, data }: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Markup(POLICY)}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header><h1>${title}</h1><button type="button" id="theme" hidden>Light or dark</button></header>
<main>
${claimsPart(sections)}
${notes.length === 0 ? undefined : html`<h2>Notes</h2>\n<ul>${notes.map((note) => html`<li>${note}</li>\n`)}</ul>`}
${sections.map(sectionPart)}
${tables.length === 0 ? undefined : html`<h2>Across data sets</h2>\n${tables.map(([caption, table]) => htmlTable(caption, table))}`}
<h2>Data</h2>
<p>Everything that is drawn here. Curves of training are means over neighbouring mini-batches.</p>
<ul>${Object.entries(data).map(downloads)}</ul>
</main>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`.text
}

const SIGNS = { supported: '✓', 'not supported': '✗', inconclusive: '?' }

function badge(verdict: Claim['verdict']): Markup {
  return html`<span class="verdict ${verdict.replace(' ', '-')}"><span aria-hidden="true">${SIGNS[verdict]}</span> ${verdict}</span>`
}

/** Makes the part with all claims and their verdicts, which comes first. */
function claimsPart(sections: readonly Section[]): Markup | undefined {
  const claims = sections.flatMap((section) => section.claims.map((claim) => ({ section, claim })))
  if (claims.length === 0) return undefined
  return html`<h2>Claims</h2>
<div class="scroll" role="group" aria-label="Claims and verdicts" tabindex="0"><table>
<caption>Each claim with the verdict of the rule that was registered for it</caption>
<thead><tr><th scope="col">claim</th><th scope="col">verdict</th><th scope="col">comparisons</th><th scope="col">study</th></tr></thead>
<tbody>${claims.map(
    ({
      section,
      claim,
    }) => html`<tr><th scope="row">${claim.claim}${claim.later ? ' (stated after the first run)' : undefined}</th>
<td>${badge(claim.verdict)}</td><td>${claim.comparisons.map((comparison) => html`<p>${comparisonText(comparison)}</p>`)}</td>
<td><a href="#${section.id}">${section.title}</a></td></tr>\n`,
  )}</tbody>
</table></div>
<p>Differences are paired by seed. Intervals are bootstrap intervals (95 %), p-values are of the paired t-test against the margin, with Holm’s
correction over the comparisons of a claim. A verdict takes ${MIN_SEEDS} paired seeds.</p>`
}

function comparisonText({ rule, sides, seeds, difference, p, verdict, reason }: Claim['comparisons'][number]): string {
  const [a, b] = sides
  const asked = `${a} ${rule.better} than ${b}${rule.margin ? ` by more than ${rule.margin}` : ''}`
  const found = difference
    ? `difference ${shown(difference.mean)} [${shown(difference.low)}, ${shown(difference.high)}] over ${seeds.length} seeds`
    : `${seeds.length} paired seeds`
  const tested = p === undefined ? '' : `, p ${p < 0.0001 ? '< 0.0001' : `= ${p.toFixed(4)}`}`
  return `${asked}: ${verdict}; ${found}${tested}${reason === undefined ? '' : `; ${reason}`}`
}

function sectionPart(section: Section): Markup {
  const { id, title, stated, deviations, arms, figures, tables } = section
  return html`<section aria-labelledby="${id}">
<h2 id="${id}">${title}</h2>
${stated.length === 0 ? undefined : html`<dl>${stated.map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>\n`)}</dl>`}
${deviations.length === 0 ? undefined : html`<h3>Deviations</h3>\n<ul>${deviations.map((text) => html`<li>${text}</li>\n`)}</ul>`}
${arms && html`<h3>Arms</h3>\n${htmlTable('Arms', arms)}`}
${figures.map((figure, i) => figurePart(figure, section, `${id}-figure-${i + 1}`))}
${tables.map(([caption, table]) => html`<h3>${caption}</h3>\n${htmlTable(caption, table)}`)}
</section>
`
}

function figurePart(figure: Drawn, { command, made }: Section, id: string): Markup {
  return html`<h3 id="${id}">${figure.title}</h3>
<figure aria-labelledby="${id}">
${labelled(figure, id)}
<figcaption>${figure.description}</figcaption>
<pre><code>${command}</code></pre>
${made.length === 0 ? undefined : html`<details><summary>How the runs were made</summary><pre><code>${made.join('\n')}</code></pre></details>`}
<details><summary>Table</summary>${htmlTable(figure.title, figure.table)}</details>
</figure>
`
}

/**
 * Makes an SVG element with a title and a description. Vega names the shapes inside it by their kinds, which says nothing to a
 * screen reader.
 */
function labelled({ svg, title, description }: Drawn, id: string): Markup {
  const names = `<title id="${id}-title">${escapeHtml(title)}</title><desc id="${id}-desc">${escapeHtml(description)}</desc>`
  const bare = svg.replace(/<[a-z][^>]*>/g, (tag) => tag.replace(/ (?:role|aria-[a-z]+)="[^"]*"/g, ''))
  return new Markup(
    bare.replace(/^<svg([^>]*)>/, (_, attributes: string) => {
      return `<svg${attributes} role="img" aria-labelledby="${id}-title" aria-describedby="${id}-desc">${names}`
    }),
  )
}

/**
 * Makes buttons that save a table, whose texts lie in the page. A link with the data in its address would break browsers'
 * limits.
 */
function downloads([name, table]: [string, Table]): Markup | undefined {
  if (table.rows.length === 0) return undefined
  const file = (id: string, type: string, text: string) =>
    html`<button type="button" data-file="${id}" data-type="${type}">${id}</button>
<script type="text/plain" id="${id}">${new Markup(Buffer.from(text).toString('base64'))}</script>`
  return html`<li>${name}, ${table.rows.length} rows: ${file(`${name}.csv`, 'text/csv', csv(table))}
${file(`${name}.jsonl`, 'application/x-ndjson', jsonl(table))}</li>\n`
}
