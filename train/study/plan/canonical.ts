/** Returns a value with the keys of all objects in order, without what is undefined. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, ordered(item)]))
}

/** Returns JSON that is the same for equal values, in whatever order their keys were set. */
export function canonical(value: unknown): string {
  return JSON.stringify(ordered(value))
}
