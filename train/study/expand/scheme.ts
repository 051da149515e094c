import { concat, crossEntropies, layerNorm, linear, type Tensor } from '../../../engine/index.ts'
import { countFlops, type Mode, type ParaFormer } from '../../../model/index.ts'
import { defineScheme, type Objective, type SchemeDefinition } from '../../schemes/index.ts'
import type { Freeze, Softmax } from './ways.ts'

/** The model before a new task, and how the task is learned. */
export interface ExpansionSchemeOptions {
  /** Number of old branches, and of old classes. */
  branches: number
  classes: number
  freeze: Freeze
  /** Default `all`. With `task` every image must be of a new class, or no class is new. */
  softmax?: Softmax | undefined
}

/** Minimizes the sum of the losses of the prefixes that have a new branch. @param branches number of branches of the expanded model */
function expansionLoss(old: ExpansionSchemeOptions, branches: number, mode: Mode): Objective {
  const { freeze, softmax = 'all' } = old
  const freezes = freeze !== 'none'
  return {
    clip: true,
    branches,
    eachBranch: true,
    firstPrefix: old.branches + 1,
    oneDevice: freezes,
    flops(config) {
      const { stem, branch, head } = countFlops(config)
      const forward = stem + branches * (branch + head)
      // Frozen branches and the stem have no backward pass.
      return freezes ? forward + 2 * ((branches - old.branches) * branch + branches * head) : 3 * forward - stem
    },
    loss(model, { images, labels, outputs }) {
      const paraformer = model as ParaFormer
      const options = { mode, outputs, frozen: freezes ? old.branches : 0 }
      const all =
        freeze === 'head'
          ? frozenHead(paraformer, (outputs ?? paraformer.outputs(images, options)).cumsum(0), old.classes)
          : paraformer.forwardPrefixes(images, options) // [m, B, classes]
      const logits = all.slice([[old.branches, branches]]) // [m - old, B, classes]
      const { classes } = paraformer.config
      const apart = softmax === 'task' && classes > old.classes
      const losses = apart // [m - old]
        ? crossEntropies(
            logits.slice([
              [0, logits.shape[0]!],
              [0, labels.shape[0]!],
              [old.classes, classes],
            ]),
            labels.sub(old.classes),
          )
        : crossEntropies(logits, labels)
      return { objective: losses.sum(), losses: losses.detach(), logits: logits.detach() }
    },
  }
}

/** Runs the head with a constant normalisation and constant rows of the old classes: sums [m, B, D] -> logits [m, B, classes]. */
function frozenHead({ head, config: { classes } }: ParaFormer, sums: Tensor, old: number): Tensor {
  const { norm } = head
  const { weight, bias } = head.linear
  const rows = (parameter: Tensor) =>
    old === classes ? parameter.detach() : concat([parameter.detach().slice([[0, old]]), parameter.slice([[old, classes]])], 0)
  return linear(layerNorm(sums, norm.weight.detach(), norm.bias.detach()), rows(weight), rows(bias!))
}

/**
 * Makes the scheme that trains an expanded model: one step on each mini-batch, on the losses of the prefixes that have a new branch. The
 * optimizer must not decay the classifier where the head is frozen.
 */
export function expansionScheme(options: ExpansionSchemeOptions): SchemeDefinition {
  return defineScheme({
    name: `expand-${options.freeze}`,
    make: (branches, { mode = 'serial' }) => ({ passes: [[expansionLoss(options, branches, mode)]] }),
  })
}
