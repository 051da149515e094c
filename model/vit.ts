import { refusal } from '../engine/base/checks.ts'
import type { Tensor } from '../engine/index.ts'
import { checkConfig, checkPrefix, type PartialConfig, type ViTConfig } from './config.ts'
import { runBranches } from './modes.ts'
import { tidy } from './taps.ts'
import { checkForward, type ForwardOptions, VisionModel } from './vision.ts'

/**
 * The Vision Transformer (arXiv 2010.11929) with the stem, layers and head of ParaFormer: one branch as deep as the model.
 * Its taps have ParaFormer's names, with `branches.0`.
 */
export class ViT extends VisionModel<ViTConfig> {
  /**
   * Fresh parameters on the default device, drawn from its random state.
   * @param config what is left out is as in the paper, with a textbook residual and as many layers as its ParaFormer
   * @throws UserError in one line for a bad config
   */
  constructor(config: PartialConfig<'vit'> = {}) {
    super(checkConfig(config, 'vit'))
  }

  /** The pooled output of the last layer, [B, D]. */
  features(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('features', images, options)
    if (options.outputs) throw refusal('features', options.outputs, 'none: a vit has no branches elsewhere', 'outputs')
    checkPrefix(this.config, options.branches)
    return tidy(options.taps, () => {
      const [features] = this.inPrecision(() => {
        const x = this.sequence(images, options.taps) // [B, T + 1, D]
        return runBranches(options.mode ?? 'serial', x, { 'branches.0': () => this.branchOutput(0, x, options) })
      }) as [Tensor] // [B, D]
      options.taps?.('features', features)
      return features
    })
  }
}
