/** A value of a table; undefined is an empty cell. */
export type Cell = string | number | boolean | undefined | null

/** A table that is drawn, shown beside its figure, or offered as a file. */
export interface Table {
  columns: readonly string[]
  rows: readonly (readonly Cell[])[]
}

/** Makes a table of objects, which share their keys. */
export function tableOf(columns: readonly string[], rows: readonly Readonly<Record<string, Cell>>[]): Table {
  return { columns, rows: rows.map((row) => columns.map((column) => row[column])) }
}

/** Formats a table as CSV (RFC 4180), with numbers in full. */
export function csv({ columns, rows }: Table): string {
  return [columns, ...rows].map((row) => `${row.map(csvCell).join(',')}\r\n`).join('')
}

function csvCell(value: Cell): string {
  if (value === undefined || value === null || (typeof value === 'number' && Number.isNaN(value))) return ''
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Formats a table as JSONL, an object a line; numbers that are not finite are null, as JSON has none. */
export function jsonl({ columns, rows }: Table): string {
  return rows.map((row) => `${JSON.stringify(Object.fromEntries(columns.map((column, i) => [column, row[i]])))}\n`).join('')
}
