import Table from 'cli-table3'
import { printable } from './printable.ts'

/** Formats a plain table: a header line, then rows; columns of numbers are aligned to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const numeric = head.map((_, column) => rows.every((row) => /^[-+\d.,]/.test(row[column] ?? '')))
  const made = new Table({
    head: [...head],
    colAligns: numeric.map((right) => (right ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 1, 'padding-right': 1 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: ' ',
    },
  })
  for (const row of rows) made.push(row.map(printable))
  return made.toString()
}

/** Formats a share: 0.9871 gives '98.71 %'. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`
}

/** Formats a large number: 7296586 gives '7.297 M'. */
export function compact(value: number): string {
  const units = ['', ' k', ' M', ' G', ' T']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3))
  return power === 0 ? String(value) : (value / 1000 ** power).toPrecision(4) + units[power]
}

/** Formats seconds: 75 gives '1 min 15 s'. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-'
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
