import type { Cell, Table } from './data.ts'

/** Text that is HTML already. */
export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** A value in a template: texts and numbers are escaped, lists are joined, and undefined is nothing. */
export type Content = string | number | Markup | undefined | readonly Content[]

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Marks of writing direction, with which a text of a file could rearrange the page around it, and control characters. */
const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** Escapes a text for HTML, as content and as the value of an attribute in quotes. */
export function escapeHtml(text: string): string {
  return text
    .replace(CONTROLS, (character) => ('\n\t'.includes(character) ? character : '\ufffd'))
    .replace(/[&<>"']/g, (character) => ENTITIES[character]!)
}

/** Makes markup of a template, all of whose values are escaped unless they are markup. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(parts.reduce((text, part, i) => text + (i === 0 ? '' : flat(values[i - 1])) + part, ''))
}

function flat(value: Content): string {
  if (value === undefined) return ''
  if (value instanceof Markup) return value.text
  if (typeof value === 'object') return value.map(flat).join('')
  return escapeHtml(String(value))
}

/** Formats a cell: numbers to 5 digits, large ones with units. */
export function shown(value: Cell): string {
  if (value === undefined || value === null) return '–'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'string') return value
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'not a number' : String(value)
  if (value !== 0 && Math.abs(value) >= 1e6) return withUnit(value)
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)))
}

const UNITS = ['M', 'G', 'T', 'P', 'E']

function withUnit(value: number): string {
  const power = Math.min(UNITS.length, Math.floor(Math.log10(Math.abs(value)) / 3) - 1)
  return `${(value / 1000 ** (power + 1)).toPrecision(4)} ${UNITS[power - 1]}`
}

/** Makes a table with a caption; the wide ones scroll, by keyboard too. */
export function htmlTable(caption: string, { columns, rows }: Table): Markup {
  const numeric = columns.map((_, i) => rows.some((row) => typeof row[i] === 'number'))
  const cell = (value: Cell, i: number) =>
    i === 0
      ? html`<th scope="row">${shown(value)}</th>`
      : html`<td${numeric[i] ? new Markup(' class="number"') : ''}>${shown(value)}</td>`
  return html`<div class="scroll" role="group" aria-label="${caption}" tabindex="0"><table>
<caption class="unseen">${caption}</caption>
<thead><tr>${columns.map((column, i) => html`<th scope="col"${numeric[i] ? new Markup(' class="number"') : ''}>${column}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map(cell)}</tr>\n`)}</tbody>
</table></div>`
}
