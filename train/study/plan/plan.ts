import { UserError } from '../../../engine/index.ts'
import { CounterRandom } from '../../../kernels/random/counterRandom.ts'
import { branchShape, countParameters, type ModelConfig } from '../../../model/index.ts'
import { Purpose } from '../../data/random.ts'
import { instantiate, type SchemeDefinition, schemeOf, trainingFlops } from '../../schemes/index.ts'
import { checkSettings, modelConfigOf, type SettingName, type Settings } from '../../settings.ts'
import type { StudyData } from './data.ts'
import { type Arm, type Budget, checkGiven, type Study } from './define.ts'
import { expansionWork } from './expansionWork.ts'
import { hashOf } from './hash.ts'
import { keyParts } from './keyParts.ts'
import type { LoadedStudy } from './source.ts'
import { batchSizes, miniBatchesFor, type Work, type WorkQuestion, workOf } from './work.ts'

/** The share by which the parameters of arms of one budget may differ. */
const ALIKE = 0.05

/** A run, or a trial of tuning, that a study consists of. */
export interface PlannedRun {
  /** Hash of settings, seed, data and sources; the name of its folder. */
  key: string
  arm: string
  seed: number
  settings: Settings
  work: Work
  /** The number of the trial, from 0, and what it tries. */
  trial?: { index: number; values: Partial<Settings> }
}

/** The study, preset and data from which runs are planned. */
export interface PlanInputs {
  loaded: LoadedStudy
  preset: string
  data: StudyData
  /** Folder of the data's files, and whether they may be fetched. */
  place: Pick<Partial<Settings>, 'dataDir' | 'download'>
  /** The settings that tuning chose, by arm. */
  tuned?: Readonly<Record<string, Partial<Settings>>>
  /** Measured seconds of a mini-batch by arm, for budgets of time. */
  pace?: Readonly<Record<string, number>>
}

/**
 * Returns the settings of an arm as the study states them, checked, with a seed.
 * @throws UserError in one line that names the arm
 */
export function statedSettings(
  study: Study,
  preset: string,
  name: string,
  seed: number,
  more: Partial<Settings> = {},
): Settings {
  const base = presetOf(study, preset)
  const { settings } = study.arms[name]!
  try {
    const own = typeof settings === 'function' ? settings(base) : settings
    checkGiven(study.id, `arm ${name}`, own)
    const checked = checkSettings({ ...base, ...own, ...more, seed } as Partial<Record<SettingName, unknown>>)
    if (checked.validation > 0) return checked
    throw new UserError('a study evaluates the test images once, at the end; set validation above 0, such as 0.1')
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    throw new UserError(`study ${study.id}, arm ${name}: ${error.message}`)
  }
}

/** Returns the settings of a preset. @throws UserError for an unknown one */
export function presetOf(study: Study, preset: string): Partial<Settings> {
  if (Object.hasOwn(study.presets, preset)) return study.presets[preset]!
  throw new UserError(`study ${study.id} has no preset ${preset}; there are ${Object.keys(study.presets).join(', ')}`)
}

/** Everything that the key of a run follows from, beside the library. */
export interface KeyInputs {
  loaded: LoadedStudy
  /** Hash of the data set. */
  data: string
  arm: string
  settings: Settings
  kind: 'run' | 'trial'
}

/** Returns the key of a run: the hash of all that decides its numbers but the device. */
export function runKey({ loaded, data, arm, settings, kind }: KeyInputs): string {
  const { model, scheme, count, procedure } = loaded.study.arms[arm]!
  const code = (model ?? scheme ?? count) ? loaded.hash : ''
  return hashOf(keyParts({ kind, study: loaded.study.id, arm, settings, data, code, procedure }))
}

/** Makes the plan of a study: the settings and the work of each run. */
export class Plan {
  readonly inputs: PlanInputs
  /** The lengths that `#length` has found, by arm. */
  readonly #lengths = new Map<string, number | undefined>()

  constructor(inputs: PlanInputs) {
    this.inputs = inputs
  }

  get study(): Study {
    return this.inputs.loaded.study
  }

  /** Plans the runs of some arms and seeds, seed after seed, so that pairs are complete early. */
  runs(arms: readonly string[], seeds: readonly number[]): PlannedRun[] {
    this.#checkParameters(arms)
    return seeds.flatMap((seed) => arms.map((arm) => this.#run(arm, seed)))
  }

  /** Plans the trials of the tuning of some arms; all arms have the same draws. */
  trials(arms: readonly string[]): PlannedRun[] {
    const { tuning } = this.study
    if (!tuning) return []
    const seed = tuning.seed ?? 0
    const draws = Array.from({ length: tuning.trials }, (_, index) => this.#draw(index))
    return arms.flatMap((arm) =>
      draws.map((values, index) => {
        const settings = this.#settings(arm, seed, values)
        const key = this.#key(arm, settings, 'trial')
        return { key, arm, seed, settings, work: workOf(this.#question(arm, settings)), trial: { index, values } }
      }),
    )
  }

  /** Returns the scheme of an arm; undefined means the one that its settings name. */
  scheme(arm: string, config: ModelConfig): SchemeDefinition | undefined {
    return schemeOfArm(this.study.arms[arm]!, config)
  }

  #run(arm: string, seed: number): PlannedRun {
    const tuned = this.inputs.tuned?.[arm] ?? {}
    const stated = this.#settings(arm, seed, tuned)
    this.#checkProcedure(arm, stated)
    const miniBatches = this.#length(arm)
    const settings = miniBatches === undefined ? stated : this.#withLength(arm, stated, miniBatches)
    return { key: this.#key(arm, settings, 'run'), arm, seed, settings, work: this.#work(arm, settings) }
  }

  /** @throws UserError for a procedure that an arm's model cannot take */
  #checkProcedure(arm: string, { architecture, depth }: Settings): void {
    const { procedure } = this.study.arms[arm]!
    const refuse = (what: string) => {
      return new UserError(`study ${this.study.id}: procedure ${procedure!.name} of arm ${arm} ${what}`)
    }
    if (procedure?.name === 'compress' && architecture !== 'paraformer')
      throw refuse(`needs a paraformer, not a ${architecture}`)
    if (procedure?.name !== 'latency' || procedure.pipeline === undefined) return
    const { devices } = procedure.pipeline
    if (architecture !== 'vit') throw refuse(`has a pipeline, which needs a vit, not a ${architecture}`)
    if (depth < devices) throw refuse(`divides ${depth} layers over ${devices} devices; use fewer`)
  }

  #settings(arm: string, seed: number, values: Partial<Settings>): Settings {
    const { preset, place } = this.inputs
    return statedSettings(this.study, preset, arm, seed, { ...values, ...place })
  }

  /** Draws the values of a trial, evenly or by their logarithms. */
  #draw(index: number): Partial<Settings> {
    const { space, seed = 0 } = this.study.tuning!
    const random = new CounterRandom(seed, [index, 0, Purpose.tuning])
    const drawn = Object.entries(space).map(([name, range]) => {
      if (Array.isArray(range)) return [name, range[random.below(range.length)]]
      const { low, high, log } = range as { low: number; high: number; log?: boolean }
      const u = random.uniform()
      return [name, log ? low * (high / low) ** u : low + u * (high - low)]
    })
    return Object.fromEntries(drawn)
  }

  #key(arm: string, settings: Settings, kind: 'run' | 'trial'): string {
    return runKey({ loaded: this.inputs.loaded, data: this.inputs.data.hash, arm, settings, kind })
  }

  #work(arm: string, settings: Settings): Work {
    const { procedure } = this.study.arms[arm]!
    if (procedure?.name === 'expand') return expansionWork(procedure, settings, this.inputs.data)
    return workOf(this.#question(arm, settings))
  }

  #question(arm: string, settings: Settings): WorkQuestion {
    const { data } = this.inputs
    const config = modelConfigOf(settings, data)
    const { branches } = branchShape(config)
    const definition = this.scheme(arm, config) ?? schemeOf(settings.scheme)
    const { prefixWeights: weights, hinge } = settings
    const count = this.study.arms[arm]!.count?.(config)
    return {
      settings,
      scheme: instantiate(definition, branches, { weights, hinge }),
      images: data.trainImages,
      flopsOf: (objective) => count?.training ?? trainingFlops(objective, config),
    }
  }

  /**
   * Returns the number of mini-batches that an arm's budget allows; undefined where its settings say how many. It is the same
   * for all seeds.
   */
  #length(arm: string): number | undefined {
    if (!this.#lengths.has(arm)) this.#lengths.set(arm, this.#budgeted(arm, []))
    return this.#lengths.get(arm)
  }

  #budgeted(arm: string, chain: readonly string[]): number | undefined {
    const { study } = this
    const { equal, to } = budgetOf(study, arm)
    if (to === arm || equal === 'parameters' || equal === 'none') return undefined
    if (chain.includes(arm))
      throw new UserError(`study ${study.id}: the budgets of ${[...chain, arm].join(', ')} refer to each other in a circle`)
    const other = this.#budgeted(to, [...chain, arm])
    const own = this.#question(arm, this.#atFirstSeed(arm))
    let of = this.#question(to, this.#atFirstSeed(to))
    if (other !== undefined) of = { ...of, settings: this.#withLength(to, of.settings, other) }
    const target = workOf(of)
    if (equal === 'flops') return miniBatchesFor(own, 'flops', target.flops)
    if (equal === 'steps') return miniBatchesFor(own, 'optimizerSteps', target.optimizerSteps)
    const [pace, pacemaker] = [this.inputs.pace?.[arm], this.inputs.pace?.[to]]
    // Before anything is measured, the length is the settings'.
    if (pace === undefined || pacemaker === undefined) return undefined
    return Math.max(1, Math.round((target.miniBatches * pacemaker) / pace))
  }

  #atFirstSeed(arm: string): Settings {
    return this.#settings(arm, this.study.seeds[0]!, this.inputs.tuned?.[arm] ?? {})
  }

  #withLength(arm: string, settings: Settings, miniBatches: number): Settings {
    const { scheme, images } = this.#question(arm, settings)
    const epoch = batchSizes(settings, images).length * scheme.passes.length
    return { ...settings, epochs: Math.ceil(miniBatches / epoch), maxSteps: miniBatches }
  }

  /** @throws UserError when arms of a budget of parameters differ in them by more than 5 % */
  #checkParameters(arms: readonly string[]): void {
    for (const arm of arms) {
      const { equal, to } = budgetOf(this.study, arm)
      if (equal !== 'parameters' || to === arm) continue
      const [own, other] = [arm, to].map((name) => this.#parameters(name)) as [number, number]
      if (Math.abs(own - other) <= ALIKE * other) continue
      throw new UserError(
        `study ${this.study.id}: arm ${arm} has ${own} parameters, ${to} has ${other}; a budget of parameters allows ${100 * ALIKE} % more or less`,
      )
    }
  }

  #parameters(arm: string): number {
    const config = modelConfigOf(this.#atFirstSeed(arm), this.inputs.data)
    return this.study.arms[arm]!.count?.(config).parameters ?? countParameters(config).total
  }
}

/** Returns the quantity that sets an arm's length, and the arm whose quantity it equals. */
function budgetOf(study: Study, name: string): { equal: Budget | 'none'; to: string } {
  const { budget } = study.arms[name]!
  const baseline = study.baseline ?? Object.keys(study.arms)[0]!
  if (budget === 'none') return { equal: 'none', to: baseline }
  return budget ?? { equal: study.budget, to: baseline }
}

/** Returns the scheme of an arm's own, if it has one. */
export function schemeOfArm({ scheme }: Arm, config: ModelConfig): SchemeDefinition | undefined {
  return typeof scheme === 'function' ? scheme(branchShape(config).branches) : scheme
}
