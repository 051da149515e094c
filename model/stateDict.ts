import { UserError } from '../engine/base/errors.ts'
import { kindOf } from '../engine/base/kind.ts'
import { copyInto } from '../engine/tensor/copies.ts'
import { copyOf, Tensor } from '../engine/tensor/tensor.ts'

/** Values of one parameter or buffer: a tensor, or an entry of a safetensors file (F32 or F64; I32 for int32). */
export type StateEntry = Tensor | { dtype: string; shape: readonly number[]; data: ArrayLike<number> | ArrayLike<bigint> }

export type StateEntries = Readonly<Record<string, StateEntry>> | ReadonlyMap<string, StateEntry>

/** Entries by name, or a loaded safetensors file, which has them as its `tensors`. */
export type StateSource = StateEntries | { readonly tensors: StateEntries }

/** Whether two entries have the same values; tensors, which are not read, only where they are the same object. */
export function isSame(a: StateEntry, b: StateEntry): boolean {
  if (a instanceof Tensor || b instanceof Tensor) return a === b
  const values = b.data
  return a.data.length === values.length && Array.prototype.every.call(a.data, (value, i) => Object.is(value, values[i]))
}

/** Returns the entries of a source. @throws UserError for a source without entries by name */
export function entriesOf(op: string, source: StateSource): ReadonlyMap<string, StateEntry> {
  if (typeof source !== 'object' || source === null || Symbol.iterator in source !== source instanceof Map) {
    throw new UserError(`${op}: got ${kindOf(source)}, takes tensors by name, as stateDict() or loadSafetensors() give them`)
  }
  const { tensors } = source as { tensors?: StateEntries | StateEntry }
  // A parameter could be called `tensors`; a whole file has a collection there.
  const collection = typeof tensors === 'object' && tensors !== null && !(tensors instanceof Tensor)
  const whole = collection && !('shape' in tensors && 'dtype' in tensors)
  const entries = (whole ? tensors : source) as StateEntries
  return entries instanceof Map ? entries : new Map(Object.entries(entries))
}

/** The dtypes of entries that a tensor of each dtype takes. */
const DTYPES: Readonly<Record<string, readonly string[]>> = { float32: ['float32', 'F32', 'F64'], int32: ['int32', 'I32'] }

/** The words of an error for entries that do not fit what they are loaded into. */
export interface Misfit {
  /** The beginning of the message. */
  problem: string
  /** Whose tensors the entries are compared with. */
  owner: string
  /** Its end, which says what to do. */
  advice: string
}

export const MODEL: Misfit = {
  problem: 'these parameters do not fit the model',
  owner: 'the model',
  advice: 'use those of a model with this config',
}

/**
 * Overwrites tensors by entries of their names. Everything is checked first: an error leaves the tensors as they were.
 * @throws UserError in one line that names what is missing, unknown or of another shape or dtype
 */
export function load(targets: ReadonlyMap<string, Tensor>, entries: ReadonlyMap<string, StateEntry>, words: Misfit): void {
  checkFit(targets, entries, (name, target, entry) => misfit(name, target, entry, words.owner), words)
  const moves = Array.from(targets, ([name, target]) => ({ target, ...sourceOf(entries.get(name)!, target) }))
  for (const { target, from, own } of moves) {
    if (from instanceof Tensor) copyInto(from, target)
    else if (from) target.write((target.dtype === 'int32' ? Int32Array : Float32Array).from(from.data as ArrayLike<number>))
    if (own) (from as Tensor).dispose()
  }
}

/** Returns what to load: nothing for the target itself, and a copy of what lies in the memory of the target and may be overwritten. */
function sourceOf(entry: StateEntry, target: Tensor): { from?: StateEntry; own?: boolean } {
  if (!(entry instanceof Tensor) || entry.storage !== target.storage) return { from: entry }
  if (entry.offset === target.offset && `${entry.strides}` === `${target.strides}`) return {}
  return { from: copyOf(entry), own: true }
}

/** Dtype and shape of a tensor or an entry. */
interface Outline {
  dtype: string
  shape: readonly number[]
}

/**
 * Compares the outlines of entries with the shapes of parameters.
 * @throws UserError in one line that names what is missing, unknown or of another shape or dtype
 */
export function checkOutlines(
  parameters: ReadonlyMap<string, Pick<Outline, 'shape'>>,
  entries: ReadonlyMap<string, Outline>,
): void {
  const misfit = (name: string, { shape }: Pick<Outline, 'shape'>, entry: Outline | undefined) =>
    outlineMisfit(name, { shape, dtype: 'float32' }, entry!, MODEL.owner)
  checkFit(parameters, entries, misfit, MODEL)
}

/** @throws UserError for names that only parameters or only entries have, and with every text that `misfit` returns */
function checkFit<P, E>(
  parameters: ReadonlyMap<string, P>,
  entries: ReadonlyMap<string, E>,
  misfit: (name: string, parameter: P, entry: E | undefined) => string[],
  { problem, advice }: Misfit,
): void {
  const missing = [...parameters.keys()].filter((name) => !entries.has(name))
  const unknown = [...entries.keys()].filter((name) => !parameters.has(name))
  const misfits = [...parameters].flatMap(([name, parameter]) =>
    entries.has(name) ? misfit(name, parameter, entries.get(name)) : [],
  )
  const problems = [
    ...(missing.length > 0 ? [`missing ${few(missing)}`] : []),
    ...(unknown.length > 0 ? [`unknown ${few(unknown)}`] : []),
    ...(misfits.length > 0 ? [few(misfits)] : []),
  ]
  if (problems.length > 0) {
    throw new UserError(`${problem}: ${problems.join('; ')}; ${advice}`)
  }
}

function outlineMisfit(name: string, target: Outline, entry: Outline, owner: string): string[] {
  const [has, takes] = [entry, target].map(({ shape }) => `[${shape.join(', ')}]`)
  if (has !== takes) return [`${name} is ${has}, ${owner} has ${takes}`]
  return DTYPES[target.dtype]?.includes(entry.dtype) ? [] : [`${name} is ${entry.dtype}, ${owner} takes ${target.dtype}`]
}

/** Returns the reason why an entry does not fit its tensor, as a list of one text; the list is empty where the entry fits. */
function misfit(name: string, target: Tensor, entry: StateEntry | undefined, owner: string): string[] {
  if (!isEntry(entry)) return [`${name} is ${kindOf(entry)}, ${owner} takes a tensor`]
  if (entry instanceof Tensor && entry.disposed) return [`${name} was disposed`]
  if (entry instanceof Tensor && entry.device !== target.device) return [`${name} is on another device; read it with data()`]
  const wrong = outlineMisfit(name, target, entry, owner)
  if (wrong.length > 0 || entry instanceof Tensor || entry.data.length === target.size) return wrong
  return [`${name} has ${entry.data.length} values, not ${target.size}`]
}

function isEntry(entry: unknown): entry is StateEntry {
  if (entry instanceof Tensor) return true
  if (typeof entry !== 'object' || entry === null) return false
  const { shape, data } = entry as { shape?: unknown; data?: unknown }
  const numbers = Array.isArray(data)
    ? data.every((value) => typeof value === 'number')
    : ArrayBuffer.isView(data) && 'length' in data
  return Array.isArray(shape) && numbers && !(data instanceof BigInt64Array || data instanceof BigUint64Array)
}

/** Joins the first three texts, each cut to 200 characters, and counts the rest. */
function few(names: string[]): string {
  return (
    names
      .slice(0, 3)
      .map((name) => name.slice(0, 200))
      .join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '')
  )
}
