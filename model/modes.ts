import { Stream, type Tensor, UserError } from '../engine/index.ts'

/**
 * How the branches of one forward pass run; the numbers are the same.
 * `serial`: one after the other on one stream, the reference. `streams`: each recorded into a stream of its own, joined
 * where their outputs meet.
 */
export type Mode = 'serial' | 'streams'

export const MODES: readonly Mode[] = ['serial', 'streams']

/**
 * Runs independent computations on the device of `input`, and returns their results in order.
 * @throws UserError for a mode that does not exist
 */
export function runBranches(mode: Mode, input: Tensor, branches: readonly (() => Tensor)[]): Tensor[] {
  switch (mode) {
    case 'serial':
      return branches.map((branch) => branch())
    case 'streams':
      return branches.map((branch, i) => input.device.onStream(new Stream(`branches.${i}`), branch))
    default:
      throw new UserError(`mode ${JSON.stringify(mode)} is unknown; choose ${MODES.join(' or ')}`)
  }
}
