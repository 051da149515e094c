import { FORK_MODES, type ForkMode, fork, type Tensor, UserError } from '../engine/index.ts'

/**
 * How the branches of one forward pass, and of its backward pass, run; the numbers are the same. `serial`: one after the other
 * on one stream, the reference. `streams`: each recorded into a stream of its own, joined where their outputs meet.
 * `coalesced`: recorded as in `streams`, then matching dispatches of all branches become one.
 */
export type Mode = ForkMode

export const MODES = FORK_MODES

/**
 * Runs independent computations on the device of `input`, and returns their results in order.
 * @param branches by name
 * @param together how many mode `coalesced` joins at a time; default all
 * @throws UserError for a mode that does not exist
 */
export function runBranches(
  mode: Mode,
  input: Tensor,
  branches: Readonly<Record<string, () => Tensor>>,
  together?: number,
): Tensor[] {
  if ((mode as string) === 'devices') {
    throw new UserError(
      'mode "devices" waits for other devices, which one call of forward() cannot do; use --mode devices on the command line, or BranchDevices',
    )
  }
  return fork(input.device, mode, branches, { together })
}
