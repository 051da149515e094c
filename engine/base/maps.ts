/** Returns the value of a key. Where there is none, `make` makes it first, as in `Map.prototype.getOrInsertComputed`. */
export function getOrMake<K, V>(map: { get(key: K): V | undefined; set(key: K, value: V): unknown }, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
