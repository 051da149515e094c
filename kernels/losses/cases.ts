import type { Fill, KernelCase } from '../spec.ts'
import { LOSSES, type Loss, type LossBackward, type LossKind } from './losses.ts'

const KINDS = Object.keys(LOSSES) as LossKind[]
const SIZES = [1, 7, 257, 5000]

/** How x and targets are filled: probabilities or their logarithms where they are that. */
function fills(kind: LossKind): Record<string, Fill> {
  const logarithm: Fill = (_, random) => Math.log(0.01 + random())
  const x: Fill = kind.startsWith('klDiv') ? logarithm : (_, random) => 20 * random() - 10
  return { x, targets: kind === 'klDivLog' ? logarithm : kind === 'mse' ? 'normal' : 'uniform' }
}

export const lossCases: readonly KernelCase<Loss>[] = KINDS.flatMap((kind) =>
  [...SIZES, 1_000_000].map((count) => ({
    name: `${kind} of ${count}`,
    problem: { kind, count },
    sizes: { x: count, targets: count, terms: count },
    fills: fills(kind),
    ...(count === 1_000_000 && { bench: true }),
  })),
)

export const lossBackwardCases: readonly KernelCase<LossBackward>[] = KINDS.flatMap((kind) =>
  [false, true].flatMap((targets) =>
    ([1, 0] as const).flatMap((gradientStride) =>
      SIZES.slice(gradientStride).map((count) => ({
        name: `${kind} of ${count}${targets ? ' targets' : ''}${gradientStride ? '' : ' one gradient'}`,
        problem: { kind, count, targets, gradientStride, scale: gradientStride ? 1 : 1 / count },
        sizes: { x: count, targets: count, gradient: gradientStride ? count : 1, output: count },
        fills: fills(kind),
      })),
    ),
  ),
)
