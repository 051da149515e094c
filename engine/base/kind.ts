/** The most elements of a list that a message shows; of a longer list it shows the length. */
const SHOWN = 6

/** The most characters of a string that a message shows. */
const CHARACTERS = 60

/** Whether a value has the fields of a tensor. The class itself lies in a higher folder. */
export function isTensorLike(value: object): value is { dtype: string; shape: readonly number[] } {
  return 'storage' in value && 'strides' in value && 'dtype' in value && 'shape' in value && Array.isArray(value.shape)
}

/** Describes a value for messages in one short line, such as `undefined`, `"3"`, `[1, 0]` or `a tensor float32 [2, 3]`. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean') {
    return Object.is(value, -0) ? '-0' : String(value)
  }
  if (typeof value === 'string') {
    return value.length > CHARACTERS ? `${JSON.stringify(value.slice(0, CHARACTERS))} and more` : JSON.stringify(value)
  }
  if (typeof value === 'bigint') return `${value}n`.slice(0, CHARACTERS)
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) {
    const short =
      value.length <= SHOWN && Array.from(value).every((item) => typeof item !== 'object' && typeof item !== 'function')
    return short ? `[${Array.from(value, kindOf).join(', ')}]` : `a list of ${value.length}`
  }
  const name = nameOf(value)
  if (ArrayBuffer.isView(value)) return `${name}(${'length' in value ? value.length : value.byteLength})`
  if (isTensorLike(value)) return `a tensor ${value.dtype} [${value.shape.join(', ')}]`
  return name === 'Object' ? 'an object' : `an object of class ${name}`
}

function nameOf(value: object): string {
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== '' ? name.slice(0, CHARACTERS) : 'Object'
}
