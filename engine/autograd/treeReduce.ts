/**
 * Combines all items, at least one, by a balanced tree, in which at most ceil(log2(n)) combinations of two depend on each other.
 * @param combine combines two, three or four neighbours, which are two levels of a binary tree: (a b)(c d) or (a b) c
 */
export function treeReduce<T>(items: readonly T[], combine: (few: readonly T[]) => T): T {
  let level = items
  while (level.length > 1) {
    const below = level
    level = Array.from({ length: Math.ceil(below.length / 4) }, (_, i) => {
      const few = below.slice(4 * i, 4 * i + 4)
      return few.length === 1 ? few[0]! : combine(few)
    })
  }
  return level[0]!
}
