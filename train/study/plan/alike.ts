import { UserError } from '../../../engine/index.ts'
import { countParameters } from '../../../model/index.ts'
import { DATASET_SHAPES } from '../../data/names.ts'
import { checkSettings, modelConfigOf, type Settings } from '../../settings.ts'

/** Counts the parameters of the model that settings make. */
function parametersOf(settings: Partial<Settings>): number {
  const checked = checkSettings(settings)
  return countParameters(modelConfigOf(checked, DATASET_SHAPES[checked.dataset])).total
}

/**
 * Chooses the hidden width of the MLPs, `mlpDim`, with which a model has as many parameters as another, as nearly as whole numbers allow.
 * @param settings the settings of the model
 * @param other those of the model that it is compared with
 * @returns the settings with that width
 * @throws UserError when the other model has too few parameters, or for bad settings
 */
export function withParametersOf(settings: Partial<Settings>, other: Partial<Settings>): Partial<Settings> {
  const target = parametersOf(other)
  const [least, next] = [1, 2].map((mlpDim) => parametersOf({ ...settings, mlpDim })) as [number, number]
  // Parameters grow by the same number with every unit of width.
  const mlpDim = 1 + Math.round((target - least) / (next - least))
  if (mlpDim < 1) {
    throw new UserError(
      `a model of ${target} parameters is too small for these settings, which take ${least}; lower dim or depth`,
    )
  }
  return { ...settings, mlpDim }
}
