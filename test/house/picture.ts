import { type Graph, withoutRedundant } from './graph.ts'
import { PLACES, placeOf } from './order.ts'

const TITLES: Record<string, string> = { 'engine/*.ts': 'engine/*.ts, the entry apart' }

/** Which place imports which others, in the order of the places. */
export function placesOf(imports: Graph): Graph {
  const found = new Map<string, Set<string>>()
  for (const [file, targets] of imports) {
    const from = placeOf(file)
    const others = found.get(from) ?? new Set()
    found.set(from, others)
    for (const to of targets.map(placeOf)) if (to !== from) others.add(to)
  }
  const places = PLACES.filter((place) => found.has(place))
  return new Map(places.map((place) => [place, places.filter((other) => found.get(place)!.has(other))]))
}

/** A Mermaid flowchart of the places, without the arrows that a longer way makes redundant. */
export function picture(imports: Graph): string {
  const graph = withoutRedundant(placesOf(imports))
  const id = (place: string) => place.replace(/\W+/g, '_')
  const lines = ['```mermaid', 'flowchart BT']
  for (const place of graph.keys()) lines.push(`  ${id(place)}["${TITLES[place] ?? place}"]`)
  for (const [place, targets] of graph) for (const target of targets) lines.push(`  ${id(place)} --> ${id(target)}`)
  return [...lines, '```'].join('\n')
}
