import type { Branches } from '../../engine/autograd/arenaLayout.ts'
import { refusal } from '../../engine/base/checks.ts'
import { ArgumentError, Tensor } from '../../engine/index.ts'

/** A parameter as optimizers take it: with its name, or alone. */
export type GivenParameter = Tensor | readonly [name: string, parameter: Tensor]

type Named = readonly [name: string, parameter: Tensor]

/**
 * Parameters with their names, each once: a tensor given twice, such as a tied weight, has the first of its names; one without name has its
 * place.
 * @throws ArgumentError for what is no list of parameters, and for a name of two
 */
export function namedOnce(op: string, given: Iterable<GivenParameter>): Named[] {
  const takes = 'parameters, such as model.namedParameters()'
  if (typeof given !== 'object' || given === null || !(Symbol.iterator in given)) throw refusal(op, given, takes)
  const names = new Map<Tensor, string>()
  const owners = new Map<string, Tensor>()
  let place = 0
  for (const one of given as Iterable<unknown>) {
    const [name, parameter] = one instanceof Tensor ? [`${place}`, one] : Array.isArray(one) ? one : [undefined, one]
    if (typeof name !== 'string' || !(parameter instanceof Tensor)) throw refusal(op, one, takes, `parameter ${place}`)
    place++
    if (names.has(parameter)) continue
    if (owners.has(name))
      throw new ArgumentError(`${op}: two parameters are called ${JSON.stringify(name)}; give each a name of its own`)
    names.set(parameter, name)
    owners.set(name, parameter)
  }
  return [...names].map(([parameter, name]) => [name, parameter])
}

/** Parameters of modules that stand in a list, such as `branches.0.norm.weight` and `branches.1.norm.weight`, by their place in it. */
export function branchesOf(pairs: readonly Named[]): Branches[] {
  const lists = new Map<string, Map<string, Tensor[]>>()
  for (const [name, parameter] of pairs) {
    const [, list, place] = /^(.*?)\b(\d+)\./.exec(name) ?? []
    if (list === undefined || place === undefined) continue
    const branches = lists.get(list) ?? new Map<string, Tensor[]>()
    lists.set(list, branches)
    branches.set(place, [...(branches.get(place) ?? []), parameter])
  }
  return [...lists.values()].map((branches) => [...branches.values()])
}
