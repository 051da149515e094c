import { files } from '#platform'
import { checkText, refusal } from '../../engine/base/checks.ts'
import { UserError } from '../../engine/base/errors.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { Tensor } from '../../engine/index.ts'
import { checkPrefix, type ModelConfig } from '../../model/index.ts'
import { toFloat32 } from '../checkpoint/dtypes.ts'
import type { Saveable } from '../checkpoint/files.ts'
import type { DataInfo } from '../run/metadata.ts'
import { onnxPieces } from './onnxFile.ts'
import { onnxGraph } from './onnxGraph.ts'

export interface ExportOptions {
  /** The branches of the prefix that is exported, of an ensemble the members; default all. */
  branches?: number | undefined
  /** Normalisation and names of classes, which the file carries as its metadata `data`. */
  data?: DataInfo | undefined
}

/** The opset of the graph; it has LayerNormalization, and ONNX Runtime reads it since 1.12. */
const OPSET = 17
/** The largest file of protocol buffers. */
const MOST_BYTES = 2 ** 31 - 1

/**
 * Writes a model, or one of its prefixes, as an ONNX file, atomically, which computes the same logits in ONNX Runtime and its like. Its input is
 * `images` [batch, C, H, W] float32, normalised, for any batch; its outputs are `logits` [batch, classes] and, but for an ensemble, `features`
 * [batch, D]. The metadata has `config` and `data`.
 * @param model a model, or its config and values by parameter name
 * @throws UserError in one line for a prefix that does not exist, a model of 2 GiB or more, or a file that cannot be written; ArgumentError
 *   for other arguments
 */
export async function exportOnnx(
  path: string,
  model: { readonly config: ModelConfig; stateDict(): Readonly<Record<string, Saveable>> },
  options: ExportOptions = {},
): Promise<void> {
  checkText('exportOnnx', path, 'path')
  const known = typeof model?.stateDict === 'function' && typeof model.config?.architecture === 'string'
  if (!known) throw refusal('exportOnnx', model, 'a ParaFormer, a ViT or an Ensemble', 'model')
  checkOptions('exportOnnx', options, { branches: true, data: true })
  const { config } = model
  const branches = checkPrefix(config, options.branches)
  const entries = await Promise.all(
    Object.entries(model.stateDict()).map(async ([name, value]) => {
      const data = value instanceof Tensor ? await value.data<Float32Array>() : toFloat32(value as never)
      return [name, { shape: value.shape, data }] as const
    }),
  )
  const metadata = {
    config: JSON.stringify(config),
    branches: String(branches),
    ...(options.data && { data: JSON.stringify(options.data) }),
  }
  const pieces = onnxPieces(onnxGraph(config, new Map(entries), branches), { opset: OPSET, metadata })
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0)
  if (bytes > MOST_BYTES)
    throw new UserError(`${path}: the model takes ${bytes} bytes; an ONNX file of one part has less than 2 GiB`)
  await files.write(path, pieces)
}
