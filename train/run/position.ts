import { UserError } from '../../engine/index.ts'
import { type Scheme, updatesOf } from '../schemes/index.ts'
import type { Position } from './metadata.ts'

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
