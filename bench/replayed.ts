import { type Captured, capture, scope, type Tensor } from '../engine/index.ts'
import type { Prepared } from './target.ts'

/** What a captured run needs to be a target, and its end. */
export interface Replayed extends Pick<Prepared, 'record' | 'ops' | 'executed'> {
  dispose(): void
}

/** Work recorded at its first run and replayed after it. @param compute gives what it is for; what that does not need is left out */
export function replayed(compute: () => Tensor): Replayed {
  const run = capture(compute)
  return {
    record: () => [run()],
    ops: () => [scope(compute)],
    executed: () => executedBy(run),
    dispose: run.dispose,
  }
}

/** Floating-point operations of a replay. */
export function executedBy({ statistics }: Pick<Captured<[], unknown>, 'statistics'>): number {
  return statistics.at(-1)?.flops ?? 0
}

/** Floating-point operations that the result of some work needs: it is captured for that, and runs once. */
export function operationsOf(compute: () => Tensor): number {
  const run = capture(compute)
  try {
    run().dispose()
    return executedBy(run)
  } finally {
    run.dispose()
  }
}
