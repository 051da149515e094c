import type { Branches } from '../../engine/autograd/arenaLayout.ts'
import { refusal } from '../../engine/base/checks.ts'
import { ArgumentError, Tensor } from '../../engine/index.ts'

/** A parameter with or without its name. */
export type GivenParameter = Tensor | readonly [name: string, parameter: Tensor]

type Named = readonly [name: string, parameter: Tensor]

/**
 * Names each parameter once. A tensor that appears twice, such as a tied weight, has the first of its names; a parameter
 * without name is called by its index.
 * @param first the index of the first parameter
 * @throws ArgumentError unless `parameters` is a list of parameters, and for a name of two parameters
 */
export function namedOnce(op: string, parameters: Iterable<GivenParameter>, first = 0): Named[] {
  const takes = 'parameters, such as model.namedParameters()'
  if (typeof parameters !== 'object' || parameters === null || !(Symbol.iterator in parameters))
    throw refusal(op, parameters, takes)
  const names = new Map<Tensor, string>()
  const owners = new Map<string, Tensor>()
  let place = 0
  for (const item of parameters as Iterable<unknown>) {
    const [name, parameter] =
      item instanceof Tensor ? [`${first + place}`, item] : Array.isArray(item) ? item : [undefined, item]
    if (typeof name !== 'string' || !(parameter instanceof Tensor)) throw refusal(op, item, takes, `parameter ${place}`)
    place++
    if (names.has(parameter)) continue
    if (owners.has(name))
      throw new ArgumentError(`${op}: two parameters are called ${JSON.stringify(name)}; give each a name of its own`)
    names.set(parameter, name)
    owners.set(name, parameter)
  }
  return [...names].map(([parameter, name]) => [name, parameter])
}

/** Groups the parameters of modules in lists, such as `branches.0.norm.weight` and `branches.1.norm.weight`, by list and module. */
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
