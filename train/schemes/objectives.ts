import { ArgumentError } from '../../engine/base/errors.ts'
import { crossEntropies, crossEntropy, noGrad, type Tensor, tensor } from '../../engine/index.ts'
import { branchShape, countFlops, Ensemble, type Mode, type Model, ParaFormer, ViT } from '../../model/index.ts'
import type { MicroBatch, Objective } from './scheme.ts'

/** Returns the loss [] and logits [B, classes] of one prefix, as an objective reports them. */
function alone(loss: Tensor, logits: Tensor): ReturnType<Objective['loss']> {
  return { objective: loss, losses: loss.detach().reshape([1]), logits: logits.detach().reshape([1, ...logits.shape]) }
}

/** @throws ArgumentError for a model without branches */
function branched(scheme: string, model: Model): ParaFormer {
  if (!(model instanceof ParaFormer)) throw new ArgumentError(`${scheme}: got a model without branches, takes a paraformer`)
  return model
}

/** Minimizes the loss of prefix k. */
export function prefixLoss(k: number, clip: boolean, mode: Mode): Objective {
  return {
    clip,
    branches: k,
    eachBranch: false,
    firstPrefix: k,
    loss(model, { images, labels, outputs }) {
      const logits = model.forward(images, { branches: k, mode, outputs }) // [B, classes]
      return alone(crossEntropy(logits, labels), logits)
    },
  }
}

/**
 * Minimizes the weighted sum of all prefix losses L_k, and `hinge` times the sum over k > 1 of max(0, L_k - L_(k-1)), in which
 * L_(k-1) is constant: a branch that makes the prefix worse is pushed back, without the prefix before it getting worse for it.
 */
export function prefixSumLoss(weights: readonly number[], hinge: number, mode: Mode): Objective {
  return {
    clip: true,
    branches: weights.length,
    eachBranch: true,
    firstPrefix: 1,
    loss(model, { images, labels, outputs }) {
      const logits = branched('prefixSum', model).forwardPrefixes(images, { mode, outputs }) // [m, B, classes]
      const losses = crossEntropies(logits, labels) // [m]
      const alike = weights.every((weight) => weight === 1)
      const sum = (alike ? losses : losses.mul(tensor([...weights], { device: images.device }))).sum()
      const m = weights.length
      if (hinge === 0 || m < 2) return { objective: sum, losses: losses.detach(), logits: logits.detach() }
      const before = losses.detach().slice([[0, m - 1]]) // [m - 1]
      const excess = losses
        .slice([[1, m]])
        .sub(before)
        .relu() // [m - 1]
      return { objective: sum.add(excess.sum().mul(hinge)), losses: losses.detach(), logits: logits.detach() }
    },
  }
}

/**
 * Minimizes the sum of the losses of the branches, each alone with stem and head, and reports the loss of their sum; of an ensemble, the
 * sum of the losses of its members, and the loss of their mean logits.
 */
export function independentLoss(branches: number, mode: Mode): Objective {
  return {
    clip: true,
    branches,
    eachBranch: true,
    firstPrefix: branches,
    loss(model, batch: MicroBatch) {
      if (model instanceof Ensemble) {
        const each = model.memberLogits(batch.images, { mode }) // [m, B, classes]
        const whole = noGrad(() => each.mean(0)) // [B, classes]
        const loss = noGrad(() => crossEntropy(whole, batch.labels))
        return { ...alone(loss, whole), objective: crossEntropies(each, batch.labels).sum() }
      }
      const paraformer = branched('independent', model)
      const outputs = batch.outputs ?? paraformer.outputs(batch.images, { mode }) // [m, B, D]
      const objective = crossEntropies(paraformer.head.forward(outputs), batch.labels).sum()
      const whole = noGrad(() => paraformer.head.forward(outputs.sum(0))) // [B, classes]
      return {
        ...alone(
          noGrad(() => crossEntropy(whole, batch.labels)),
          whole,
        ),
        objective,
      }
    },
  }
}

/** Minimizes the loss of prefix k by branch k and head alone, stem and earlier branches frozen; of prefix 1 by the stem too. */
export function boostingLoss(k: number, mode: Mode): Objective {
  return {
    clip: true,
    branches: k,
    eachBranch: false,
    firstPrefix: k,
    oneDevice: true,
    flops(config) {
      const { stem, branch, head } = countFlops(config)
      const forward = stem + k * branch + head
      // Only what is not frozen has a backward pass: branch k and head, and the weight of the stem for prefix 1.
      return forward + 2 * (branch + head) + (k === 1 ? stem : 0)
    },
    loss(model, { images, labels }) {
      const logits = branched('greedy', model).forward(images, { branches: k, frozen: k - 1, mode }) // [B, classes]
      return alone(crossEntropy(logits, labels), logits)
    },
  }
}

/** Minimizes the sum of the losses of the shared head after every layer of a ViT; reports that of the last layer. */
export function everyLayerLoss(): Objective {
  return {
    clip: true,
    branches: 1,
    eachBranch: false,
    firstPrefix: 1,
    flops(config) {
      // Every layer computes all tokens, and the head runs after each.
      const { stem, layer, head } = countFlops(config)
      return 3 * (stem + branchShape(config).depth * (layer + head)) - stem
    },
    loss(model, { images, labels }) {
      if (!(model instanceof ViT)) throw new ArgumentError('everyLayer: got another model, takes a vit')
      const logits = model.forwardLayers(images) // [layers, B, classes]
      const losses = crossEntropies(logits, labels) // [layers]
      const [layers] = losses.shape as [number]
      const last = logits.detach().slice([[layers - 1, layers]]) // [1, B, classes]
      return { objective: losses.sum(), losses: losses.detach().slice([[layers - 1, layers]]), logits: last }
    },
  }
}
