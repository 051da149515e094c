import { ArgumentError } from '../../engine/base/errors.ts'

/** Norm-relative error of `actual` against `expected`: |actual - expected| / |expected| (the plain norm where that is 0). */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`)
  if (expected.length === 0) throw new Error('no values to compare')
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    // An expected NaN or infinity (poison that must stay, too) that is met exactly is no error.
    if (!Number.isFinite(expected[i]!) && Object.is(actual[i], expected[i])) continue
    difference += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(difference) / (norm > 0 ? Math.sqrt(norm) : 1)
}

/**
 * Fails unless every value is finite where the expected one is, and the norm-relative error is within the tolerance.
 * Written so that NaN can never pass, nor a comparison of nothing.
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

/** The message of the ArgumentError that `fn` throws, one line. */
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
