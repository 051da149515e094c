import { UserError } from '../../../engine/index.ts'

/** Whether training ended because numbers were not finite (see `nonFiniteError`). */
export function isDivergence(error: unknown): error is UserError {
  return error instanceof UserError && /^training stopped: NaN or infinity in mini-batch/.test(error.message)
}
