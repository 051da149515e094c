import { UserError } from '../../engine/index.ts'
import { type Scheme, updatesOf } from '../schemes/index.ts'
import type { Position, TrainingState } from './metadata.ts'

/**
 * Checks that a run can go on from a state.
 * @param ends the mini-batch with which the run ends now, and the one with which it ended by the settings of the state
 * @param batches mini-batches in a pass over the training images
 * @throws UserError when the run ends before that state, or at it without an evaluation, or never reaches it
 */
export function checkResumable(
  { position, evaluationDue = false, history }: TrainingState,
  ends: { end: number; endBefore: number },
  scheme: Scheme,
  batches: number,
): void {
  const { step } = position
  const { end, endBefore } = ends
  if (step > end || (step === end && step < endBefore && !evaluationDue)) {
    throw new UserError(
      `the run is at mini-batch ${step} already and would end at ${end}; use larger --epochs or --max-steps, or none`,
    )
  }
  checkPosition(position, scheme, batches)
  if (step === end && !evaluationDue && history.length === 0) {
    throw new UserError('the checkpoint is of the end of a run and holds no evaluation; use an intact one')
  }
}

/** Returns the epoch and the pass of the mini-batch before a position. */
export function placeBefore({ epoch, pass, batch }: Position, { passes }: Scheme): { epoch: number; pass: number } {
  if (batch > 0) return { epoch, pass }
  return pass > 0 ? { epoch, pass: pass - 1 } : { epoch: epoch - 1, pass: passes.length - 1 }
}

/**
 * Checks that a run reaches a position.
 * @param batches mini-batches in a pass over the training images
 * @throws UserError in one line that names the wrong field
 */
export function checkPosition(position: Position, scheme: Scheme, batches: number): void {
  const { passes } = scheme
  const { epoch, pass, batch } = position
  const updates = updatesOf(scheme)
  const sum = (counts: number[]) => counts.reduce((total, count) => total + count, 0)
  const expected = {
    pass: Math.min(pass, passes.length - 1),
    batch: Math.min(batch, batches - 1),
    step: (epoch * passes.length + pass) * batches + batch,
    updates: batches * (epoch * sum(updates) + sum(updates.slice(0, pass))) + batch * (updates[pass] ?? 0),
  }
  for (const [key, value] of Object.entries(expected)) {
    const found = position[key as keyof Position]
    if (found === value) continue
    throw new UserError(
      `position.${key} is ${found}, not ${value}, in ${passes.length} passes of ${batches} mini-batches an epoch; use an intact ` +
        'checkpoint with its own data',
    )
  }
}
