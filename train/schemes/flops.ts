import { countFlops, type ModelConfig } from '../../model/index.ts'
import type { Objective } from './scheme.ts'

/**
 * Counts the operations of an optimizer step on one image: the matrix products of the forward and backward pass, as
 * `countFlops` counts them. The optimizer's own operations are left out, and so are those that `recompute` runs again.
 * @returns the number that the objective states; else the operations of stem, its branches, and the head on their sum, or on
 *   each running sum
 */
export function trainingFlops(objective: Objective, config: ModelConfig): number {
  if (objective.flops) return objective.flops(config)
  const { branches, eachBranch } = objective
  const { head, training } = countFlops(config, { branches })
  // Each product of the forward pass has two in the backward pass. Members of an ensemble have a head each in any case.
  const heads = eachBranch && config.architecture !== 'ensemble' ? branches - 1 : 0
  return training + 3 * heads * head
}

/** Adds up the operations of optimizer steps. */
export class FlopCounter {
  /** Operations of all steps so far; undefined where an earlier part of the run was not counted. */
  total: number | undefined = 0
  readonly #config: ModelConfig
  /** Operations on one image by objective. */
  readonly #each = new Map<Objective, number>()

  constructor(config: ModelConfig) {
    this.#config = config
  }

  /** Adds a step on each objective, with so many images. */
  add(objectives: readonly Objective[], images: number): void {
    for (const objective of objectives) {
      const each = this.#each.get(objective) ?? trainingFlops(objective, this.#config)
      this.#each.set(objective, each)
      if (this.total !== undefined) this.total += images * each
    }
  }
}
