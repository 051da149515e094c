// Options of ops on images that are one number for rows and columns or a number for each.
import type { Pair } from '../../kernels/conv2d/index.ts'
import { checkWhole, refusal } from '../base/checks.ts'

/** A whole number for rows and columns, or [rows, columns]. */
export type PairOption = number | readonly [rows: number, columns: number]

/** The largest number that is taken, so that places in an image stay within int32. */
const MOST = 2 ** 20

/** @throws ArgumentError unless the value is a whole number of at least `least`, or two of them */
export function checkPair(op: string, value: unknown, name: string, least = 1): Pair {
  if (typeof value === 'number') {
    checkWhole(op, value, name, least, MOST)
    return [value, value]
  }
  if (!Array.isArray(value) || value.length !== 2) throw refusal(op, value, 'a whole number or [rows, columns]', name)
  for (const size of value) checkWhole(op, size, name, least, MOST)
  return [value[0], value[1]]
}
