/** Targets of the edges of each node. */
export type Graph = ReadonlyMap<string, readonly string[]>

/** Nodes that a path of at least one edge leads to from `start`. */
export function reachable(graph: Graph, start: string): Set<string> {
  const found = new Set<string>()
  const open = [start]
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    for (const target of graph.get(node) ?? []) {
      if (found.has(target)) continue
      found.add(target)
      open.push(target)
    }
  }
  return found
}

/** A shortest circle that begins with the edge from `start` to `next`, as `a -> b -> a`; undefined where there is none. */
export function circleOf(graph: Graph, start: string, next: string): string | undefined {
  const before = new Map<string, string>()
  const open = [next]
  for (const node of open) {
    if (node === start) break
    for (const target of graph.get(node) ?? []) {
      if (target === next || before.has(target)) continue
      before.set(target, node)
      open.push(target)
    }
  }
  if (start !== next && !before.has(start)) return undefined
  const path = [start]
  while (path[0] !== next) path.unshift(before.get(path[0]!)!)
  return [start, ...path].join(' -> ')
}

/** The same graph without each edge that another path makes redundant. */
export function withoutRedundant(graph: Graph): Graph {
  const kept = new Map([...graph].map(([node, targets]) => [node, [...targets]]))
  for (const [node, targets] of graph) {
    for (const target of targets) {
      const others = kept.get(node)!.filter((other) => other !== target)
      if (reachable(new Map([...kept, [node, others]]), node).has(target)) kept.set(node, others)
    }
  }
  return kept
}
