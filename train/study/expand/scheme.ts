import { countFlops, type Mode, type ParaFormer } from '../../../model/index.ts'
import { defineScheme, type Objective, type SchemeDefinition } from '../../schemes/index.ts'
import { lossesOf } from '../../schemes/objectives.ts'

/**
 * Minimizes the sum of the losses of the prefixes that have a new branch.
 * @param old number of old branches
 * @param freezes whether stem and old branches are constant; the head learns in any case
 */
function expansionLoss(old: number, branches: number, freezes: boolean, mode: Mode): Objective {
  return {
    clip: true,
    branches,
    eachBranch: true,
    firstPrefix: old + 1,
    oneDevice: freezes,
    flops(config) {
      const { stem, branch, head } = countFlops(config)
      const forward = stem + branches * (branch + head)
      // Frozen branches and the stem have no backward pass.
      return freezes ? forward + 2 * ((branches - old) * branch + branches * head) : 3 * forward - stem
    },
    loss(model, { images, labels, outputs }) {
      const frozen = freezes ? old : 0
      const all = (model as ParaFormer).forwardPrefixes(images, { mode, outputs, frozen }) // [m, B, classes]
      const logits = all.slice([[old, branches]]) // [m - old, B, classes]
      const losses = lossesOf(logits, labels) // [m - old]
      return { objective: losses.sum(), losses: losses.detach(), logits: logits.detach() }
    },
  }
}

/**
 * Makes the scheme that trains an expanded model: one step on each mini-batch, on the losses of the prefixes that have a new branch.
 * @param old number of old branches
 * @param freezes whether stem and old branches keep their values
 */
export function expansionScheme(old: number, freezes: boolean): SchemeDefinition {
  return defineScheme({
    name: freezes ? 'expandFrozen' : 'expandAll',
    make: (branches, { mode = 'serial' }) => ({ passes: [[expansionLoss(old, branches, freezes, mode)]] }),
  })
}
