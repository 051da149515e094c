import { checkText, checkWhole } from '../../engine/base/checks.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { type Device, defaultDevice, setDefaultDevice } from '../../engine/index.ts'
import { CONFIG_LIMITS } from '../../model/config.ts'
import { type ModelConfig, ViT } from '../../model/index.ts'
import type { SafetensorsEntry } from '../checkpoint/dtypes.ts'
import { openSafetensors } from '../checkpoint/files.ts'
import type { DataInfo } from '../run/metadata.ts'
import { readSourceConfig } from './vitConfig.ts'
import { configOf, readVit, recognize } from './vitWeights.ts'

export interface ImportOptions {
  /** The number of classes of a fresh head, for fine-tuning; by default the head comes from the file. */
  classes?: number | undefined
  /** The device that holds the model; by default the default device. */
  device?: Device | undefined
}

/** A ViT of others as our checkpoints hold one. */
export interface ImportedViT {
  config: ModelConfig
  /** Values by parameter name. A fresh head is missing. */
  tensors: Map<string, SafetensorsEntry>
  data: DataInfo
}

/** The normalisation of Hugging Face's and timm's ViTs where their files say nothing: pixels in [-1, 1]. */
const HALF = 0.5

/**
 * Reads the weights of a Vision Transformer without a device; see `importViT`.
 * @param path a `.safetensors` file, or a folder with `model.safetensors`
 */
export async function readImportedViT(path: string, classes?: number): Promise<ImportedViT> {
  const weights = path.endsWith('.safetensors') ? path : `${path}/model.safetensors`
  const folder = weights.replace(/[^/\\]*$/, '').replace(/[/\\]$/, '') || '.'
  const file = await openSafetensors(weights)
  try {
    const source = recognize(file, weights)
    const { mean, std, classNames, ...rest } = await readSourceConfig(folder, source.names.mark.startsWith('patch_embed'))
    const config = configOf(source, rest, classes)
    const tensors = await readVit(source, config, classes !== undefined)
    const each = (values: number[] | undefined) =>
      values?.length === config.channels ? values : Array(config.channels).fill(HALF)
    const named = classNames?.length === config.classes && classes === undefined
    const data: DataInfo = { dataset: 'images', mean: each(mean), std: each(std), ...(named && { classNames }), own: {} }
    return { config, tensors, data }
  } finally {
    await file.close()
  }
}

/**
 * Makes a ViT (arXiv 2010.11929) of the weights that Hugging Face's `ViTForImageClassification` or timm saved as safetensors. Its logits are
 * theirs to rounding. The `config.json` beside the weights says how many heads there are and the eps of LayerNorm; without it heads are 64 wide.
 * @param path the `.safetensors` file, or the folder that has it as `model.safetensors`
 * @throws UserError in one line when the file is missing or malformed, holds another model, or uses what this ViT does not have (another
 *   activation than GELU, a distillation token); ArgumentError for other arguments
 */
export async function importViT(path: string, options: ImportOptions = {}): Promise<ViT> {
  checkText('importViT', path, 'path')
  checkOptions('importViT', options, { classes: true, device: true })
  const { classes, device = defaultDevice() } = options
  if (classes !== undefined) checkWhole('importViT', classes, 'classes', 1, CONFIG_LIMITS.classes)
  const { config, tensors } = await readImportedViT(path, classes)
  const before = defaultDevice()
  setDefaultDevice(device)
  try {
    const model = new ViT(config)
    // A fresh head keeps its values.
    model.loadStateDict({ ...model.stateDict(), ...Object.fromEntries(tensors) })
    return model
  } finally {
    setDefaultDevice(before)
  }
}
