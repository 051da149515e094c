/** Marks objects, such as a device, that hold no tensors for `walk` and `replace`. */
export const OPAQUE = Symbol('opaque')

/** Whether a value may hold tensors: it is an object, but no buffer and no promise, and not marked opaque. */
function isContainer(value: unknown): value is object {
  return (
    typeof value === 'object' &&
    value !== null &&
    !ArrayBuffer.isView(value) &&
    !(value instanceof ArrayBuffer || value instanceof Promise || OPAQUE in value)
  )
}

/** Returns the values of a list, a Map or a Set, or the public fields of an object of any class. */
function partsOf(value: object): Iterable<unknown> {
  if (value instanceof Map) return value.values()
  if (Array.isArray(value) || value instanceof Set) return value
  return Object.values(value)
}

/**
 * Visits a value and all that it holds in lists, Maps, Sets and public fields of objects, each object once.
 * @param visit returns whether to visit what the object holds
 * @param seen objects visited before, which are skipped
 */
export function walk(value: unknown, visit: (object: object) => boolean, seen = new Set<object>()): void {
  if (!isContainer(value) || seen.has(value)) return
  seen.add(value)
  if (visit(value)) for (const part of partsOf(value)) walk(part, visit, seen)
}

/**
 * Returns the same structure with the leaves replaced. Objects of a class are copied with their public fields; an object that holds no leaf
 * is not copied.
 * @param isLeaf whether an object is a leaf
 * @param made copies by their originals, so that shared objects stay shared
 */
export function replace<R, L extends object>(
  value: R,
  isLeaf: (object: object) => object is L,
  map: (leaf: L) => unknown,
  made = new Map<object, unknown>(),
): R {
  if (!isContainer(value)) return value
  if (isLeaf(value)) return map(value) as R
  if (made.has(value)) return made.get(value) as R
  let holds = false
  walk(value, (object) => {
    holds ||= isLeaf(object)
    return !holds
  })
  if (!holds) return value
  const inside = <T>(part: T): T => replace(part, isLeaf, map, made)
  if (value instanceof Map) {
    const copy = new Map()
    made.set(value, copy)
    for (const [key, part] of value) copy.set(key, inside(part))
    return copy as R
  }
  if (value instanceof Set) {
    const copy = new Set()
    made.set(value, copy)
    for (const part of value) copy.add(inside(part))
    return copy as R
  }
  const copy = Array.isArray(value) ? [] : Object.create(Object.getPrototypeOf(value))
  made.set(value, copy)
  for (const [key, part] of Object.entries(value)) copy[key] = inside(part)
  return copy as R
}
