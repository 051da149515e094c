import { type Captured, capture, scope, type Tensor } from '../engine/index.ts'
import type { Prepared } from './target.ts'

/** A captured run with the functions that a target needs of it. */
export interface Replayed extends Pick<Prepared, 'record' | 'ops' | 'executed'> {
  dispose(): void
}

/**
 * Captures work that is recorded in its first run and replayed in all later ones.
 * @param compute returns the result; a replay leaves out what the result does not need
 */
export function replayed(compute: () => Tensor): Replayed {
  const run = capture(compute)
  return {
    record: () => [run()],
    ops: () => [scope(compute)],
    executed: () => executedBy(run),
    dispose: run.dispose,
  }
}

/** Returns the floating-point operations of the last capture's replay; 0 before the first run. */
export function executedBy({ statistics }: Pick<Captured<[], unknown>, 'statistics'>): number {
  return statistics.at(-1)?.flops ?? 0
}

/** Counts the floating-point operations that a result needs. The work is captured for this, and runs once. */
export function operationsOf(compute: () => Tensor): number {
  const run = capture(compute)
  try {
    run().dispose()
    return executedBy(run)
  } finally {
    run.dispose()
  }
}
