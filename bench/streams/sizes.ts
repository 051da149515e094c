import { UserError } from '../../engine/index.ts'
import { checkConfig, type ParaFormerConfig, type ViTConfig } from '../../model/index.ts'
import { PRESETS } from '../../train/presets.ts'
import { checkSettings, modelConfigOf, type SettingName, type Settings } from '../../train/settings.ts'
import { IMAGES } from '../modelTargets.ts'

/** Settings of training runs that are flags of this command too. */
export const SIZE_FLAGS = [
  'imageSize',
  'patchSize',
  'dim',
  'heads',
  'dimHead',
  'mlpDim',
  'branches',
  'branchDepth',
  'residual',
  'pool',
  'scheme',
  'recompute',
  'coalesce',
] as const satisfies readonly SettingName[]

/**
 * Sizes by name: those of the presets, and `small`, the images and width of `npm start` with the paper's number of branches and
 * layers.
 */
const SIZES: Readonly<Record<string, Partial<Settings>>> = {
  small: { ...PRESETS.quick!.settings, branches: 8, branchDepth: 2 },
  ...Object.fromEntries(Object.entries(PRESETS).map(([name, { settings }]) => [name, settings])),
}
export const SIZE_NAMES = Object.keys(SIZES)

/** A ParaFormer and a ViT with as many layers of the same size. */
export interface Sizes {
  paraformer: ParaFormerConfig
  vit: ViTConfig
  scheme: Settings['scheme']
  /** Whether layers are recomputed for backward. */
  recompute: boolean
  /** Number of branches that are coalesced at a time; undefined means all. */
  coalesce: number | undefined
}

/**
 * Returns the sizes of a preset, changed by flags. They are without dropout, so that values can be compared.
 * @throws UserError in one line for settings that do not fit together
 */
export function sizesOf(preset: string, flags: Readonly<Partial<Record<SettingName, unknown>>>): Sizes {
  const settings = checkSettings({ ...SIZES[preset]!, scheme: 'joint', dropout: 0, ...flags })
  const paraformer = modelConfigOf({ ...settings, architecture: 'paraformer' }, IMAGES[settings.dataset]!) as ParaFormerConfig
  if (paraformer.branches < 2) throw new UserError('--branches 1 leaves nothing to run side by side; take 2 or more')
  const { branches, branchDepth, architecture: _, ...shared } = paraformer
  // A model this deep would be trained with pre-norm residuals.
  const vit = checkConfig({ ...shared, architecture: 'vit', depth: branches * branchDepth, residual: 'preNorm' }, 'vit')
  return { paraformer, vit, scheme: settings.scheme, recompute: settings.recompute, coalesce: settings.coalesce }
}
