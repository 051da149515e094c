/** Combines all items, at least one, by a balanced tree, in which at most ceil(log2(n)) combinations depend on each other. */
export function treeReduce<T>(items: readonly T[], combine: (a: T, b: T) => T): T {
  let level = items
  while (level.length > 1) {
    const below = level
    const pairs = Array.from({ length: below.length >> 1 }, (_, i) => combine(below[2 * i]!, below[2 * i + 1]!))
    level = below.length % 2 === 1 ? [...pairs, below.at(-1)!] : pairs
  }
  return level[0]!
}
