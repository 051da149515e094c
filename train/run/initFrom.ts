import { UserError } from '../../engine/base/errors.ts'
import { kindOf } from '../../engine/base/kind.ts'
import type { Model, ModelConfig, StateEntry } from '../../model/index.ts'
import { type SafetensorsEntry, toFloat32 } from '../checkpoint/dtypes.ts'
import { resize } from '../data/resize.ts'
import { flagOf, type SettingName, type Settings } from '../settings.ts'
import type { Checkpoint } from './checkpoint.ts'

/** Keys of a model config in which a fine-tuned model may differ from its checkpoint. */
const FREE = ['classes', 'imageSize', 'dropout']

/** Returns the settings that make a model like that of a checkpoint. Number of classes and image size are left to the data set. */
export function settingsLike({ config }: Checkpoint): Partial<Settings> {
  const { channels, classes, imageSize, ...settings } = config
  return settings
}

/**
 * Checks that a model of `config` can begin with the parameters of a checkpoint.
 * @throws UserError in one line: what differs, and what to do
 */
export function checkInitial({ path, config: there }: Checkpoint, config: ModelConfig): void {
  for (const [key, value] of Object.entries(config)) {
    const found = there[key as keyof ModelConfig] as unknown
    if (FREE.includes(key) || found === value) continue
    if (key === 'channels') {
      throw new UserError(
        `${path}: its model takes images of ${found} channels, the data set has ${value}; choose another --dataset or --init-from`,
      )
    }
    const flag = flagOf(key as SettingName)
    throw new UserError(
      `${path}: its model has ${key} ${found}, the settings say ${kindOf(value)}; leave ${flag} out, or set it alike`,
    )
  }
}

/**
 * Overwrites the parameters of a fresh model with those of a checkpoint. Where the number of classes differs, the last layer of the head
 * stays fresh. Where the image size differs, the position embedding is interpolated bilinearly over the grid of patches, and the row of the
 * CLS token is kept (arXiv 2010.11929, section 3.2).
 * @throws UserError in one line for a model that differs otherwise; it is as it was then
 */
export function loadInitial(model: Model, checkpoint: Checkpoint): void {
  const { config, parameters } = checkpoint
  checkInitial(checkpoint, model.config)
  const initial = new Map<string, StateEntry>(parameters)
  if (config.classes !== model.config.classes) {
    const own = model.stateDict()
    for (const [name, fresh] of Object.entries(own)) if (HEAD.test(name)) initial.set(name, fresh)
  }
  for (const [name, { shape }] of model.namedParameters()) {
    const position = POSITION.test(name) ? parameters.get(name) : undefined
    if (position) initial.set(name, resizePositions(position, shape[1]!))
  }
  model.loadStateDict(initial)
}

/** Names of the last layer and of the position embedding, of a model or of a member of an ensemble. */
const HEAD = /(^|\.)head\.linear\.(weight|bias)$/
const POSITION = /(^|\.)posEmbedding$/

/**
 * Interpolates a position embedding [1, T + 1, D], whose first row is that of the CLS token, to [1, rows, D]. Patches lie in square
 * grids, and each value stands at the centre of its patch.
 */
export function resizePositions(entry: SafetensorsEntry, rows: number): SafetensorsEntry {
  const [, before = 0, D = 0] = entry.shape
  if (before === rows) return entry
  const [from, to] = [Math.sqrt(before - 1), Math.sqrt(rows - 1)]
  const source = toFloat32(entry)
  const planes = new Float32Array(D * from * from) // [D, from, from]
  for (let t = 0; t < from * from; t++) for (let d = 0; d < D; d++) planes[d * from * from + t] = source[(t + 1) * D + d]!
  const resized = resize(planes, D, from, from, to, to) // [D, to, to]
  const data = new Float32Array(rows * D)
  data.set(source.subarray(0, D))
  for (let t = 0; t < to * to; t++) for (let d = 0; d < D; d++) data[(t + 1) * D + d] = resized[d * to * to + t]!
  return { dtype: 'F32', shape: [1, rows, D], data }
}
