import { checkChoice, checkNumber } from '../../../engine/base/checks.ts'
import { checkOptions } from '../../../engine/base/options.ts'
import { UserError } from '../../../engine/index.ts'
import { checkConfig, createModel, type ParaFormer, type ParaFormerConfig } from '../../../model/index.ts'
import { toFloat32 } from '../../checkpoint/dtypes.ts'
import { type Entries, readState } from '../../modelState.ts'
import { checkAdd, checkBase } from './checks.ts'

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
 * @throws UserError for a config beyond the limits, fewer classes than the old ones, parameters that are not those of the base's config,
 *   and for `zero` with the `preNorm` residual; ArgumentError for arguments of a wrong kind
 */
export async function expandModel(
  base: BaseModel,
  options: { add: number; classes?: number; init?: Init },
): Promise<ParaFormer> {
  checkBase('expandModel', base)
  checkOptions('expandModel', options ?? null, { add: true, classes: true, init: true })
  const { config: old, parameters } = base
  const { add, classes = old.classes, init = defaultInit(old) } = options
  checkAdd('expandModel', add)
  checkNumber('expandModel', classes, 'classes')
  if (classes < old.classes)
    throw new UserError(`${classes} classes are fewer than the ${old.classes} of the base; give at least as many`)
  const config = expandedConfig(old, add, classes)
  checkInit('expandModel', old, init)
  const model = createModel(config) as ParaFormer
  try {
    const { parameters: fresh } = await readState({ model })
    const last = `layers.${config.branchDepth - 1}.`
    const entries: Entries = new Map()
    for (const [name, entry] of fresh) {
      const data = toFloat32(entry)
      const isNew = Number(/^branches\.(\d+)\./.exec(name)?.[1] ?? -1) >= old.branches
      if (!isNew) {
        const size = name.startsWith('head.linear.') ? (data.length / classes) * old.classes : data.length
        // The rows of the head's classifier come first by class, so that the old ones are the beginning of the new ones.
        data.set(valuesOf(parameters, name, size))
      } else if (init === 'zero' && ZEROED.some((zeroed) => name.endsWith(`.${last}${zeroed}`))) data.fill(0)
      entries.set(name, { dtype: 'F32', shape: entry.shape, data })
    }
    model.loadStateDict(entries)
    return model
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** Returns the `size` values of a parameter. @throws UserError when it is missing or of another size */
function valuesOf(parameters: Entries, name: string, size: number): Float32Array {
  const entry = parameters.get(name)
  const values = entry && toFloat32(entry)
  if (values?.length === size) return values
  const found = values ? `${values.length} values of` : 'no'
  throw new UserError(`the base has ${found} ${name}, its config means ${size}; give the parameters of its own config`)
}

/** Returns the config of an expanded model. @throws UserError when it is beyond the limits */
export function expandedConfig(old: ParaFormerConfig, add: number, classes: number): ParaFormerConfig {
  return checkConfig({ ...old, branches: old.branches + add, classes }, 'paraformer')
}

/** @throws UserError for `zero` with the `preNorm` residual; ArgumentError for what is no `Init` */
export function checkInit(op: string, { residual }: ParaFormerConfig, init: Init): void {
  checkChoice(op, init, INITS, 'init')
  if (init === 'zero' && residual === 'preNorm') {
    throw new UserError('a branch with the preNorm residual passes its input on and cannot begin at zero; use --init random')
  }
}
