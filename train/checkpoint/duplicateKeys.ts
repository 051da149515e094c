/**
 * Finds the first key that an object of a JSON text has twice; `JSON.parse` would keep only its last value.
 * @param json valid JSON
 */
export function duplicateKey(json: string): string | undefined {
  /** The keys of every open object; undefined for an open list. */
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < json.length; at++) {
    const character = json[at]
    if (character === '{') open.push(new Set())
    else if (character === '[') open.push(undefined)
    else if (character === '}' || character === ']') open.pop()
    else if (character === '"') {
      const end = endOfString(json, at)
      if (isKey(json, end)) {
        const key = JSON.parse(json.slice(at, end)) as string
        const keys = open.at(-1)!
        if (keys.has(key)) return key
        keys.add(key)
      }
      at = end - 1
    }
  }
  return undefined
}

/** Returns the exclusive end of the string whose opening quote is at `begin`. */
function endOfString(json: string, begin: number): number {
  for (let end = json.indexOf('"', begin + 1); ; end = json.indexOf('"', end + 1)) {
    let backslashes = 0
    while (json[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end + 1
  }
}

/** Whether a colon follows the string that ends at `at`. */
function isKey(json: string, at: number): boolean {
  let next = at
  while (/\s/.test(json[next] ?? '')) next++
  return json[next] === ':'
}
