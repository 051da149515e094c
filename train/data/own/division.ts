import { createHash } from 'node:crypto'

/**
 * Orders files at random, by the SHA-256 of seed and name. Each name has a place of its own, so that neither the order on disk nor other
 * files change the order of two files.
 * @param names different texts
 * @returns the names in their order
 */
export function shuffledNames(names: readonly string[], seed: number): string[] {
  const keyed = names.map((name) => ({ name, key: createHash('sha256').update(`${seed}\n${name}`).digest('hex') }))
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ name }) => name)
}

/** Returns how many of the images of a class are for tests: their share, rounded, but at least one, and one is left for training. */
export function testCount(images: number, share: number): number {
  return Math.min(images - 1, Math.max(1, Math.round(images * share)))
}
