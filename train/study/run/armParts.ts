import type { Device } from '../../../engine/index.ts'
import type { ModelConfig } from '../../../model/index.ts'
import type { StartOptions } from '../../run/start.ts'
import type { Procedure } from '../plan/define.ts'
import { schemeOfArm } from '../plan/plan.ts'
import { studyOf } from '../plan/source.ts'

/** The model, the scheme and the procedure of an arm's own. */
export interface ArmParts {
  ownModel: boolean
  procedure: Procedure | undefined
  /** Returns the scheme, and the way to make the model, as options of `startTrainer`. */
  options(device: Device, config: ModelConfig): Pick<StartOptions, 'scheme' | 'createModel'>
}

/** Loads the parts of an arm from a bundled study. */
export async function armParts(bundle: string, name: string): Promise<ArmParts> {
  const arm = (await studyOf(bundle)).arms[name]!
  const { model, procedure } = arm
  return {
    ownModel: model !== undefined,
    procedure,
    options: (device, config) => ({
      scheme: schemeOfArm(arm, config),
      createModel: model && ((checked) => model(checked, device)),
    }),
  }
}
