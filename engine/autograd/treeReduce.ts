/**
 * Joins all items to one, neighbours first, then the results: as many steps follow each other as the logarithm of their number.
 * @param items at least one
 */
export function treeReduce<T>(items: readonly T[], join: (a: T, b: T) => T): T {
  let parts = items
  while (parts.length > 1) {
    const from = parts
    const pairs = Array.from({ length: from.length >> 1 }, (_, i) => join(from[2 * i]!, from[2 * i + 1]!))
    parts = from.length % 2 === 1 ? [...pairs, from.at(-1)!] : pairs
  }
  return parts[0]!
}
