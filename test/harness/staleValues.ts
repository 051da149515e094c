import * as assert from 'uvu/assert'
import { StaleValueError, tensor } from '../../engine/index.ts'

/** A leaf of one dim. */
export const leaf = (values: number[]) => tensor(values, { requiresGrad: true })

/** The message of the StaleValueError that `fn` throws. Fails for another error, and for none. */
export function staleBy(fn: () => void): string {
  try {
    fn()
  } catch (error) {
    assert.instance(error, StaleValueError)
    return (error as Error).message
  }
  throw new Error('no error, though a value that backward needs was changed')
}
