import { refusal } from '../engine/base/checks.ts'
import { stack, type Tensor } from '../engine/index.ts'
import { checkConfig, type ModelConfig, type PartialConfig, type ViTConfig } from './config.ts'
import { tidy } from './layers.ts'
import { checkForward, type ForwardOptions, VisionModel } from './vision.ts'

/**
 * The Vision Transformer (arXiv 2010.11929) with the stem, layers and head of ParaFormer: it is one branch as deep as the model.
 * Its taps have ParaFormer's names, with `branches.0`.
 */
export class ViT extends VisionModel<ViTConfig> {
  /**
   * Draws fresh parameters from the random state of the default device.
   * @param config missing fields take the values of `DEFAULT_CONFIGS.vit`
   * @throws UserError in one line for a bad config
   */
  constructor(config: PartialConfig<'vit'> | ModelConfig = {}) {
    super(checkConfig(config, 'vit'))
  }

  /** Returns the pooled output of the last layer, [B, D]. */
  features(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('features', images, options)
    if (options.outputs) throw refusal('features', options.outputs, 'none: a vit has no branches elsewhere', 'outputs')
    return tidy(options.taps, () => {
      const [features] = this.runBranches(images, options) as [Tensor] // [B, D]
      options.taps?.('features', features)
      return features
    })
  }

  /**
   * Returns the logits of the head after every layer, for a loss at each (deep supervision, arXiv 1409.5185).
   * @param images float32 [B, C, H, W]
   * @returns [layers, B, classes], where the last row is `forward(images)`
   * @throws ShapeError for images of another shape
   */
  forwardLayers(images: Tensor): Tensor {
    checkForward('forwardLayers', images, {})
    const pooled: Tensor[] = []
    const read = (name: string, z: Tensor) => {
      // The taps of whole layers: `branches.0.layers.{l}`, [B, T + 1, D], or the CLS row alone of the last layer.
      if (/^branches\.0\.layers\.\d+$/.test(name)) pooled.push(this.pool(z))
    }
    this.features(images, { taps: read, skipDeadTokens: false })
    return this.head.forward(stack(pooled, 0)) // [layers, B, classes]
  }
}
