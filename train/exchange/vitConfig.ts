// The JSON files that stand beside published weights.
import * as v from 'valibot'
import { files } from '#platform'
import { UserError } from '../../engine/base/errors.ts'
import { count, fields, listOf, mapOf, parseJson, text } from '../../engine/base/json.ts'

/** Facts of a model that the shapes of weights do not tell. */
export interface Architecture {
  heads: number | undefined
  normEps: number | undefined
}

/** Facts that the files state of a model and its images. */
interface SourceConfig extends Architecture {
  classNames: string[] | undefined
  /** Mean and standard deviation of the channels of pixels in [0, 1]. */
  mean: number[] | undefined
  std: number[] | undefined
}

const number = v.number('a number')
const numbers = listOf(number)

const CONFIG = fields({
  num_attention_heads: v.optional(count),
  layer_norm_eps: v.optional(number),
  hidden_act: v.optional(text),
  id2label: v.optional(mapOf(text)),
  architecture: v.optional(text),
  label_names: v.optional(listOf(text)),
  pretrained_cfg: v.optional(fields({ mean: v.optional(numbers), std: v.optional(numbers) })),
})

const PREPROCESSOR = fields({ image_mean: v.optional(numbers), image_std: v.optional(numbers) })

/** timm's models have another eps than PyTorch's LayerNorm. */
const TIMM_EPS = 1e-6
/** Hugging Face's default of `layer_norm_eps`. */
const HUGGING_FACE_EPS = 1e-12

/** The heads of timm's models, whose config names them alone. */
const TIMM_HEADS: Record<string, number> = { tiny: 3, small: 6, base: 12, large: 16, huge: 16 }

/**
 * Reads `config.json`, of Hugging Face or timm, if it is there.
 * @param timm whether the weights have timm's names
 * @throws UserError in one line for a file that is malformed, or a model with another activation than the exact GELU
 */
export async function readSourceConfig(folder: string, timm: boolean): Promise<SourceConfig> {
  const config = await readJson(CONFIG, `${folder}/config.json`)
  const { mean, std } = config?.pretrained_cfg ?? {}
  const preprocessor = await readJson(PREPROCESSOR, `${folder}/preprocessor_config.json`)
  const act = config?.hidden_act ?? 'gelu'
  if (act !== 'gelu') throw new UserError(`${folder}/config.json: hidden_act is ${act}; takes gelu, its exact form`)
  const size = /^(?:vit|deit3?)_([a-z]+)_/.exec(config?.architecture ?? '')?.[1]
  const labels = config?.id2label
  return {
    heads: config?.num_attention_heads ?? TIMM_HEADS[size ?? ''],
    normEps: timm ? TIMM_EPS : (config?.layer_norm_eps ?? HUGGING_FACE_EPS),
    classNames: labels ? Object.keys(labels).map((_, i) => labels[i] ?? `class ${i}`) : config?.label_names,
    mean: preprocessor?.image_mean ?? mean,
    std: preprocessor?.image_std ?? std,
  }
}

async function readJson<const S extends v.GenericSchema>(schema: S, path: string): Promise<v.InferOutput<S> | undefined> {
  let bytes: Uint8Array
  try {
    bytes = await files.read(path, 2 ** 24)
  } catch {
    return undefined
  }
  return parseJson(schema, new TextDecoder().decode(bytes), path)
}
