import { kindOf } from '../../../engine/base/kind.ts'
import { suggestion } from '../../../engine/base/options.ts'
import { UserError } from '../../../engine/index.ts'
import type { Study } from './define.ts'

/** The part of a study that is asked for. */
export interface Selection {
  arms: string[]
  seeds: number[]
}

/**
 * Returns the asked arms and seeds, or all.
 * @throws UserError for an arm or a seed that the study does not have, or that is named twice
 */
export function select(
  study: Study,
  asked: { arms?: readonly string[] | undefined; seeds?: readonly number[] | undefined },
): Selection {
  const arms = Object.keys(study.arms)
  const { id } = study
  for (const arm of asked.arms ?? []) {
    if (!arms.includes(arm))
      throw new UserError(`study ${id} has no arm ${kindOf(arm)}${suggestion(arm, arms)}; there are ${arms.join(', ')}`)
  }
  for (const seed of asked.seeds ?? []) {
    if (!study.seeds.includes(seed)) throw new UserError(`study ${id} has no seed ${seed}; there are ${study.seeds.join(', ')}`)
  }
  refuseTwice('arm', asked.arms ?? [])
  refuseTwice('seed', asked.seeds ?? [])
  return { arms: [...(asked.arms ?? arms)], seeds: [...(asked.seeds ?? study.seeds)] }
}

function refuseTwice(what: string, list: readonly (string | number)[]): void {
  const twice = list.find((item, i) => list.indexOf(item) !== i)
  if (twice !== undefined) throw new UserError(`${what} ${twice} is named twice; a run is done once`)
}

/** Returns the arms that the lengths of some arms depend on, and these arms themselves. */
export function withReferences(study: Study, arms: readonly string[]): string[] {
  const all = new Set(arms)
  for (const arm of all) {
    const { budget } = study.arms[arm]!
    if (budget === 'none') continue
    all.add(budget?.to ?? study.baseline ?? Object.keys(study.arms)[0]!)
  }
  return [...all]
}
