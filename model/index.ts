import { checkConfig, type PartialConfig } from './config.ts'
import { Ensemble } from './ensemble.ts'
import { ParaFormer } from './paraformer.ts'
import { ViT } from './vit.ts'

export { BatchNorm2d, GroupNorm } from './channelNorms.ts'
export { clsAttention } from './clsAttention.ts'
export {
  type Architecture,
  branchShape,
  CONFIG_LIMITS,
  type ConfigOf,
  checkConfig,
  checkPrefix,
  DEFAULT_CONFIGS,
  type EnsembleConfig,
  type ModelConfig,
  type ParaFormerConfig,
  type PartialConfig,
  type Pool,
  parseConfig,
  type Residual,
  type ViTConfig,
} from './config.ts'
export { AvgPool2d, Conv2d, type Conv2dLayerOptions, MaxPool2d } from './convolution.ts'
export { type CountOptions, countFlops, countParameters, type FlopCount, type ParameterCount } from './count.ts'
export { Attention, EncoderLayer, type LayerConfig, LayerNorm, Linear, Mlp, type Tap } from './layers.ts'
export { buffer, Module, type Parameter, parameter } from './module.ts'
export { Dropout, Embedding, RmsNorm } from './plainLayers.ts'
export { type Layer, Sequential } from './sequential.ts'
export type { StateEntries, StateEntry, StateSource } from './stateDict.ts'
export {
  type Branch,
  type ForwardOptions,
  type Head,
  MODES,
  type Mode,
  PRECISIONS,
  type Precision,
  type VisionModel,
} from './vision.ts'
export { Ensemble, ParaFormer, ViT }

export type Model = ParaFormer | ViT | Ensemble

/**
 * Makes a model of the config's architecture with fresh parameters on the default device.
 * @throws UserError in one line for a bad config
 */
export function createModel(config: PartialConfig): Model {
  const checked = checkConfig(config)
  if (checked.architecture === 'vit') return new ViT(checked)
  return checked.architecture === 'ensemble' ? new Ensemble(checked) : new ParaFormer(checked)
}
