import { checkConfig, type PartialConfig } from './config.ts'
import { ParaFormer } from './paraformer.ts'
import { ViT } from './vit.ts'

export type Model = ParaFormer | ViT

/**
 * A model of the config's architecture with fresh parameters on the default device.
 * @throws UserError in one line for a bad config
 */
export function createModel(config: PartialConfig): Model {
  const checked = checkConfig(config)
  return checked.architecture === 'vit' ? new ViT(checked) : new ParaFormer(checked)
}
