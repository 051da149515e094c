import { refusal } from '../engine/base/checks.ts'
import { checkOptions } from '../engine/base/options.ts'
import { addAll, stack, type Tensor, UserError } from '../engine/index.ts'
import { checkConfig, checkPrefix, type ModelConfig, type ParaFormerConfig, type PartialConfig } from './config.ts'
import { tidy } from './layers.ts'
import { checkForward, type ForwardOptions, VisionModel } from './vision.ts'

/**
 * ParaFormer (arXiv 2510.15425): shallow Transformer branches side by side. All read the same embedded image and their
 * outputs are summed, so that the first k branches with the shared head are a model of their own, prefix k:
 *
 *     f_k(x) = Head(pool(B_1(E(x)) + ... + B_k(E(x))))
 *
 * Taps: `embed`; for each branch i and layer l `branches.{i}.layers.{l}.{norm1,attention.values,attention,norm2,mlp}`,
 * `branches.{i}.layers.{l}` and `branches.{i}`; `features`.
 */
export class ParaFormer extends VisionModel<ParaFormerConfig> {
  /**
   * Draws fresh parameters from the random state of the default device.
   * @param config missing fields take the paper's values
   * @param options.own branches to make; default all. The others live on other devices (see `BranchDevices`)
   * @throws UserError in one line for a bad config; ArgumentError for an unknown option, or branches that the config does not have
   */
  constructor(config: PartialConfig<'paraformer'> | ModelConfig = {}, options: { own?: readonly number[] } = {}) {
    const checked = checkConfig(config, 'paraformer')
    checkOptions('ParaFormer', options, { own: true })
    checkOwn(options.own, checked.branches)
    super(checked, options.own)
  }

  /** Returns the pooled sum of the branches' outputs, [B, D]. */
  features(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('features', images, options)
    return tidy(options.taps, () => {
      const sum = options.outputs?.sum(0) ?? addAll(this.prefixOutputs(images, options)) // [B, D]
      options.taps?.('features', sum)
      return sum
    })
  }

  /**
   * Returns the logits of every prefix from one pass over the branches: the running sum of their outputs goes through the shared head.
   * @param images float32 [B, C, H, W]
   * @param options `branches` is the last prefix that is computed
   * @returns [k, B, classes], where row i is `forward(images, { branches: i + 1 })`
   * @throws ShapeError for images of another shape; UserError for a prefix or mode that does not exist
   */
  forwardPrefixes(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('forwardPrefixes', images, options)
    return tidy(options.taps, () => {
      const outputs = options.outputs ?? this.outputs(images, options) // [k, B, D]
      const sums = outputs.cumsum(0) // [k, B, D]
      options.taps?.('features', sums)
      return this.head.forward(sums) // [k, B, classes]
    })
  }

  /**
   * Returns the pooled outputs of the branches of a prefix, before they are summed, [k, B, D].
   * @throws ShapeError for images of another shape; UserError for a prefix or mode that does not exist
   */
  outputs(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('outputs', images, options)
    return tidy(options.taps, () => stack(this.prefixOutputs(images, options), 0))
  }

  /** Returns the pooled output, [B, D], of each branch of the prefix that lives on this device. */
  branchOutputs(images: Tensor, options: ForwardOptions = {}): Tensor[] {
    checkForward('branchOutputs', images, options)
    return this.runBranches(images, options)
  }

  /**
   * Returns the pooled outputs of all branches of a prefix, [B, D] each, which `features`, `outputs` and `forwardPrefixes` add up. A class
   * that weighs its branches overrides this alone.
   * @throws UserError when some live on other devices
   */
  protected prefixOutputs(images: Tensor, options: ForwardOptions): Tensor[] {
    const k = checkPrefix(this.config, options.branches)
    const away = Array.from({ length: k }, (_, i) => i).filter((i) => !this.branches[i])
    if (away.length > 0) {
      throw new UserError(
        `branches ${away.map((i) => i + 1).join(', ')} live on other devices; ask the BranchDevices that put them there`,
      )
    }
    return this.runBranches(images, options)
  }
}

/** @throws ArgumentError unless `own` is undefined or a list of different branches, counted from 0 */
function checkOwn(own: unknown, branches: number): void {
  if (own === undefined) return
  const exists = (i: unknown) => Number.isInteger(i) && (i as number) >= 0 && (i as number) < branches
  if (Array.isArray(own) && own.every(exists) && new Set(own).size === own.length) return
  throw refusal('ParaFormer', own, `a list of branches, each once, from 0 to ${branches - 1}`, 'own')
}
