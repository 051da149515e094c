import { significant } from '../format.ts'

/** Formats a number of bytes as text: 34816 gives '34 KiB'. */
export function bytes(count: number): string {
  const power = Math.min(2, Math.floor(Math.log2(Math.max(1, count)) / 10))
  return `${significant(count / 1024 ** power)} ${['B', 'KiB', 'MiB'][power]}`
}
