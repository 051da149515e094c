import { sha256 } from '#platform'

/** Names that are hashed at once. */
const AT_ONCE = 1000

/**
 * Orders files at random, by the SHA-256 of seed and name. Each name has a place of its own, so that neither the order on disk nor other
 * files change the order of two files.
 * @param names different texts
 * @returns the names in their order
 */
export async function shuffledNames(names: readonly string[], seed: number): Promise<string[]> {
  const text = new TextEncoder()
  const keyed: { name: string; key: string }[] = []
  for (let i = 0; i < names.length; i += AT_ONCE) {
    const keys = names.slice(i, i + AT_ONCE).map(async (name) => ({ name, key: await sha256(text.encode(`${seed}\n${name}`)) }))
    for (const entry of await Promise.all(keys)) keyed.push(entry)
  }
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ name }) => name)
}

/** Returns how many of the images of a class are for tests: their share, rounded, but at least one, and one is left for training. */
export function testCount(images: number, share: number): number {
  return Math.min(images - 1, Math.max(1, Math.round(images * share)))
}
