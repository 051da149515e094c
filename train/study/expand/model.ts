import { UserError } from '../../../engine/index.ts'
import { checkConfig, createModel, type ParaFormer, type ParaFormerConfig } from '../../../model/index.ts'
import { toFloat32 } from '../../checkpoint/dtypes.ts'
import { type Entries, readState } from '../../modelState.ts'

/**
 * The first values of new branches. `zero`: their outputs are 0, so that the expanded model begins as the old one and loses nothing
 * before it has learned something; `random`: those of a new model, whose outputs disturb the sum at first.
 */
export const INITS = ['zero', 'random'] as const
export type Init = (typeof INITS)[number]

/** A model in host memory that can be expanded. */
export interface BaseModel {
  config: ParaFormerConfig
  parameters: Entries
}

/** Parameters whose zeros make the output of a branch 0, of its last layer: z = FFN(v) + v with v = LayerNorm(y). */
const ZEROED = ['norm2.weight', 'norm2.bias', 'mlp.fc2.weight', 'mlp.fc2.bias']

/**
 * Returns the default of `Init` for a model. A layer with the paper's residual outputs nothing but what its parameters let through. A
 * `preNorm` layer also passes its input on, which no parameters stop, so that a new branch of it can only begin at random.
 */
export function defaultInit({ residual }: Pick<ParaFormerConfig, 'residual'>): Init {
  return residual === 'paper' ? 'zero' : 'random'
}

/**
 * Makes a model on the default device whose first branches, stem and first classes are those of an old model. The classifier gets rows
 * for new classes, with the first values of a new model.
 * @param options.add branches to append
 * @param options.classes classes of the model, at least those of the old one
 * @throws UserError for a config beyond the limits, and for `zero` with the `preNorm` residual
 */
export async function expandModel(
  { config: old, parameters }: BaseModel,
  { add, classes = old.classes, init = defaultInit(old) }: { add: number; classes?: number; init?: Init },
): Promise<ParaFormer> {
  const config = expandedConfig(old, add, classes)
  checkInit(old, init)
  const model = createModel(config) as ParaFormer
  const { parameters: fresh } = await readState({ model })
  const last = `layers.${config.branchDepth - 1}.`
  const entries: Entries = new Map()
  for (const [name, entry] of fresh) {
    const before = parameters.get(name)
    const data = toFloat32(entry)
    // The rows of the head's classifier come first by class, so that the old ones are the beginning of the new ones.
    if (before) data.set(toFloat32(before))
    else if (init === 'zero' && ZEROED.some((zeroed) => name.endsWith(`.${last}${zeroed}`))) data.fill(0)
    entries.set(name, { dtype: 'F32', shape: entry.shape, data })
  }
  model.loadStateDict(entries)
  return model
}

/** Returns the config of an expanded model. @throws UserError when it is beyond the limits */
export function expandedConfig(old: ParaFormerConfig, add: number, classes: number): ParaFormerConfig {
  return checkConfig({ ...old, branches: old.branches + add, classes }, 'paraformer')
}

/** @throws UserError for `zero` with the `preNorm` residual */
export function checkInit({ residual }: ParaFormerConfig, init: Init): void {
  if (init === 'zero' && residual === 'preNorm') {
    throw new UserError('a branch with the preNorm residual passes its input on and cannot begin at zero; use --init random')
  }
}
