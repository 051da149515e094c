import type { ParaFormer } from '../../../model/index.ts'
import { type BatchOutputs, candidateScores } from './outputs.ts'

/**
 * Orders the branches greedily: the next branch is the one with which the sum classifies most images right; of several, the one with
 * the smallest loss, and then the first. The branches do not run again: every candidate is a sum of their outputs.
 * @param batches outputs on validation images
 * @param onBranch is called after each choice with the number of branches chosen
 * @returns indices of the branches, from 0
 */
export async function greedyOrder(
  model: ParaFormer,
  batches: readonly BatchOutputs[],
  onBranch?: (chosen: number) => void,
): Promise<number[]> {
  const order: number[] = []
  const left = new Set(model.branches.keys())
  while (left.size > 0) {
    const candidates = [...left]
    const { accuracies, losses } = await candidateScores(model, batches, order, candidates)
    let best = 0
    for (let i = 1; i < candidates.length; i++) {
      const [gain, fall] = [accuracies[i]! - accuracies[best]!, losses[best]! - losses[i]!]
      if (gain > 0 || (gain === 0 && fall > 0)) best = i
    }
    order.push(candidates[best]!)
    left.delete(candidates[best]!)
    onBranch?.(order.length)
  }
  return order
}
