import { ArgumentError } from '../../engine/base/errors.ts'

/** The norm-relative error |actual - expected| / |expected|, or |actual - expected| where |expected| is 0. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`)
  if (expected.length === 0) throw new Error('no values to compare')
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    // A NaN or an infinity is no error where it is expected, as in poison that must stay.
    if (!Number.isFinite(expected[i]!) && Object.is(actual[i], expected[i])) continue
    difference += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(difference) / (norm > 0 ? Math.sqrt(norm) : 1)
}

/**
 * Fails unless values that are not finite are the expected ones, and the norm-relative error is within the tolerance. Neither
 * an unexpected NaN nor an empty list passes.
 */
export function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  if (actual.length !== expected.length) throw new Error(`${what}: ${actual.length} values, expected ${expected.length}`)
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(actual[i]) && !Object.is(actual[i], expected[i])) {
      throw new Error(`${what}: [${i}] is ${actual[i]}, expected ${expected[i]}`)
    }
  }
  const error = relativeError(actual, expected)
  if (!(error <= tolerance)) {
    let worst = 0
    for (let i = 0; i < expected.length; i++) {
      if (Math.abs(actual[i]! - expected[i]!) > Math.abs(actual[worst]! - expected[worst]!)) worst = i
    }
    throw new Error(
      `${what}: relative error ${error.toExponential(2)} > ${tolerance}; worst [${worst}] is ${actual[worst]}, expected ${expected[worst]}`,
    )
  }
}

/** The message of the ArgumentError that `fn` throws. Fails for another error, and for more than one line. */
export function messageOf(fn: () => unknown): string {
  try {
    fn()
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw new Error(`threw ${error}, not an ArgumentError`)
    if (/[\r\n]/.test(error.message)) throw new Error(`more than a line: ${error.message}`)
    return error.message
  }
  throw new Error('nothing was thrown')
}
