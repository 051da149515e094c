import { zeroGrad } from '../engine/autograd/backward.ts'
import { noGrad } from '../engine/autograd/tape.ts'
import { checkBoolean, checkFunction, refusal } from '../engine/base/checks.ts'
import { UserError } from '../engine/base/errors.ts'
import { kindOf } from '../engine/base/kind.ts'
import { copyInto } from '../engine/tensor/copies.ts'
import { scope, withoutScope } from '../engine/tensor/scope.ts'
import { Tensor } from '../engine/tensor/tensor.ts'

/** A tensor that training changes; modules hold no other tensors. */
export type Parameter = Tensor

/** Values of one parameter: a tensor, or an entry of a safetensors file (F32 or F64). */
export type StateEntry = Tensor | { dtype: string; shape: readonly number[]; data: ArrayLike<number> | ArrayLike<bigint> }

export type StateEntries = Readonly<Record<string, StateEntry>> | ReadonlyMap<string, StateEntry>

/** Entries by parameter name, or a loaded safetensors file, which has them as its `tensors`. */
export type StateSource = StateEntries | { readonly tensors: StateEntries }

/**
 * Base class of everything with parameters. Its fields are the registry: a field that holds a tensor is a parameter, a field that
 * holds a module or an array of modules is a child, and names follow the fields (`branches.0.layers.1.norm1.weight`).
 */
export abstract class Module {
  /** Whether dropout is active. It is off until `train()` is called, so that a loaded model predicts as it stands. */
  training = false

  /** Returns the children by name, in the order of the fields. */
  namedChildren(): [string, Module][] {
    return Object.entries(this).flatMap(([name, value]) => modulesIn(name, value))
  }

  /**
   * Returns the parameters of this module and all its descendants by name, in the order of the fields. A tied weight, which several
   * modules hold, appears once, under the first of its names.
   */
  namedParameters(): [string, Parameter][] {
    const found = new Map<Parameter, string>()
    for (const [name, parameter] of everyName(this)) if (!found.has(parameter)) found.set(parameter, name)
    return [...found].map(([parameter, name]) => [name, parameter])
  }

  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter)
  }

  /** Turns dropout on or off in this module and all its descendants. @throws ArgumentError unless `training` is a boolean */
  train(training = true): this {
    checkBoolean('train', training, 'training')
    // A module may be its own descendant.
    if (turning.has(this)) return this
    turning.add(this)
    this.training = training
    for (const [, child] of this.namedChildren()) child.train(training)
    turning.delete(this)
    return this
  }

  /** Turns dropout off. */
  eval(): this {
    return this.train(false)
  }

  /** Returns the parameters themselves (not copies) by checkpoint name, a tied weight once. */
  stateDict(): Record<string, Parameter> {
    return Object.fromEntries(this.namedParameters())
  }

  /**
   * Overwrites every parameter. Everything is checked first: an error leaves the model as it was. A tied weight may come under any of
   * its names, or under several with the same values.
   * @throws UserError in one line that names what is missing, unknown or of another shape or dtype
   */
  loadStateDict(source: StateSource): void {
    const parameters = new Map(this.namedParameters())
    const entries = untied(entriesOf(source), this)
    checkFit(parameters, entries, misfit)
    for (const [name, parameter] of parameters) {
      const entry = entries.get(name)!
      parameter.version.label = name
      if (entry === parameter) continue
      if (entry instanceof Tensor) copyInto(entry, parameter)
      else parameter.write(Float32Array.from(entry.data as ArrayLike<number>))
    }
  }

  /** Frees every parameter and its gradient; the module is of no use afterwards. */
  dispose(): void {
    const parameters = this.parameters()
    zeroGrad(parameters)
    for (const parameter of parameters) parameter.dispose()
  }
}

/** Modules whose `train()` is running. */
const turning = new Set<Module>()

/**
 * Makes a parameter with the values of `initial()`. It requires a gradient and outlives the scope in which it is made.
 * @throws ArgumentError for what is no function, or does not return a tensor
 */
export function parameter(initial: () => Tensor): Parameter {
  checkFunction('parameter', initial)
  const made = withoutScope(() => noGrad(() => scope(initial)))
  if (!(made instanceof Tensor)) throw refusal('parameter', made, 'a function that returns a tensor', 'its result')
  made.requiresGrad = true
  return made
}

/**
 * Returns every parameter under each of its names.
 * @param around the modules that contain `module`; a module that holds one of them is not entered again
 * @param found receives the result
 */
function everyName(
  module: Module,
  prefix = '',
  around: Module[] = [],
  found: [string, Parameter][] = [],
): [string, Parameter][] {
  around.push(module)
  for (const [name, value] of Object.entries(module)) {
    if (value instanceof Tensor) found.push([prefix + name, value])
    else {
      for (const [path, child] of modulesIn(name, value)) {
        if (!around.includes(child)) everyName(child, `${prefix}${path}.`, around, found)
      }
    }
  }
  around.pop()
  return found
}

/** Moves the entries of tied weights to the weights' first names. @throws UserError where two entries of one weight differ */
function untied(entries: ReadonlyMap<string, StateEntry>, module: Module): ReadonlyMap<string, StateEntry> {
  const first = new Map<Parameter, string>()
  const result = new Map(entries)
  for (const [name, parameter] of everyName(module)) {
    const own = first.get(parameter)
    const entry = entries.get(name)
    if (own === undefined) first.set(parameter, name)
    else if (entry) {
      const other = result.get(own)
      if (other && !isSame(entry, other)) {
        throw new UserError(`${own} and ${name} are one parameter of this model, the entries differ; give one of them`)
      }
      result.set(own, entry)
      result.delete(name)
    }
  }
  return result
}

/** Whether two entries have the same values; tensors, which are not read, only where they are the same object. */
function isSame(a: StateEntry, b: StateEntry): boolean {
  if (a instanceof Tensor || b instanceof Tensor) return a === b
  const values = b.data
  return a.data.length === values.length && Array.prototype.every.call(a.data, (value, i) => Object.is(value, values[i]))
}

/** Returns the modules that a field holds, with their names: itself, or those of an array. */
function modulesIn(name: string, value: unknown): [string, Module][] {
  if (value instanceof Module) return [[name, value]]
  if (!Array.isArray(value)) return []
  return value.flatMap((item, i): [string, Module][] => (item instanceof Module ? [[`${name}.${i}`, item]] : []))
}

/** Returns the entries of a source. @throws UserError for a source without entries by name */
function entriesOf(source: StateSource): ReadonlyMap<string, StateEntry> {
  if (typeof source !== 'object' || source === null || Symbol.iterator in source !== source instanceof Map) {
    throw new UserError(
      `loadStateDict: got ${kindOf(source)}, takes tensors by name, as stateDict() or loadSafetensors() give them`,
    )
  }
  const { tensors } = source as { tensors?: StateEntries | StateEntry }
  // A parameter could be called `tensors`; a whole file has a collection there.
  const collection = typeof tensors === 'object' && tensors !== null && !(tensors instanceof Tensor)
  const whole = collection && !('shape' in tensors && 'dtype' in tensors)
  const entries = (whole ? tensors : source) as StateEntries
  return entries instanceof Map ? entries : new Map(Object.entries(entries))
}

const DTYPES = ['float32', 'F32', 'F64']

/** Dtype and shape of a parameter or an entry. */
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
  checkFit(parameters, entries, (name, parameter, entry) => outlineMisfit(name, parameter, entry!))
}

/** @throws UserError for names that only parameters or only entries have, and with every text that `misfit` returns */
function checkFit<P, E>(
  parameters: ReadonlyMap<string, P>,
  entries: ReadonlyMap<string, E>,
  misfit: (name: string, parameter: P, entry: E | undefined) => string[],
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
    throw new UserError(`these parameters do not fit the model: ${problems.join('; ')}; use those of a model with this config`)
  }
}

function outlineMisfit(name: string, parameter: Pick<Outline, 'shape'>, entry: Outline): string[] {
  const [has, takes] = [entry, parameter].map(({ shape }) => `[${shape.join(', ')}]`)
  if (has !== takes) return [`${name} is ${has}, the model has ${takes}`]
  return DTYPES.includes(entry.dtype) ? [] : [`${name} is ${entry.dtype}, the model takes float32`]
}

/** Returns the reason why an entry does not fit its parameter, as a list of one text; the list is empty where the entry fits. */
function misfit(name: string, parameter: Parameter, entry: StateEntry | undefined): string[] {
  if (!isEntry(entry)) return [`${name} is ${kindOf(entry)}, the model takes a tensor`]
  if (entry instanceof Tensor && entry.disposed) return [`${name} was disposed`]
  if (entry instanceof Tensor && entry.device !== parameter.device) return [`${name} is on another device; read it with data()`]
  const wrong = outlineMisfit(name, parameter, entry)
  if (wrong.length > 0 || entry instanceof Tensor || entry.data.length === parameter.size) return wrong
  return [`${name} has ${entry.data.length} values, not ${parameter.size}`]
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
