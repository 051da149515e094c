import { zeroGrad } from '../engine/autograd/backward.ts'
import { noGrad } from '../engine/autograd/tape.ts'
import { checkBoolean, checkFunction, refusal } from '../engine/base/checks.ts'
import { UserError } from '../engine/base/errors.ts'
import { scope, withoutScope } from '../engine/tensor/scope.ts'
import { Tensor } from '../engine/tensor/tensor.ts'
import { entriesOf, isSame, load, MODEL, type StateEntry, type StateSource } from './stateDict.ts'

/** A tensor that training changes. */
export type Parameter = Tensor

/** The tensors that are buffers. */
const buffers = new WeakSet<Tensor>()

/**
 * Base class of everything with parameters. Its fields are the registry: a field that holds a tensor is a parameter, or a buffer
 * where `buffer()` made it, and so is each of an array of tensors; a field that holds a module or an array of modules is a child. Names follow the fields
 * (`branches.0.layers.1.norm1.weight`).
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
    return firstNames(this).filter(([, t]) => !buffers.has(t))
  }

  /** Returns the buffers of this module and all its descendants by name, in the order of the fields, each once. */
  namedBuffers(): [string, Tensor][] {
    return firstNames(this).filter(([, t]) => buffers.has(t))
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

  /** Returns the parameters and buffers themselves (not copies) by checkpoint name, a tied weight once. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries(firstNames(this))
  }

  /**
   * Overwrites every parameter and buffer. Everything is checked first: an error leaves the model as it was. A tied weight may come under any of
   * its names, or under several with the same values.
   * @throws UserError in one line that names what is missing, unknown or of another shape or dtype
   */
  loadStateDict(source: StateSource): void {
    const own = new Map(firstNames(this))
    load(own, untied(entriesOf('loadStateDict', source), this), MODEL)
    for (const [name, { version }] of own) version.label = name
  }

  /** Frees every parameter, its gradient, and every buffer; the module is of no use afterwards. */
  dispose(): void {
    zeroGrad(this.parameters())
    for (const [, t] of firstNames(this)) t.dispose()
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
 * Makes a buffer with the values of `initial()`, such as running statistics: state that `stateDict()` has and training leaves alone. It
 * outlives the scope in which it is made.
 * @throws ArgumentError for what is no function, or does not return a float32 or int32 tensor
 */
export function buffer(initial: () => Tensor): Tensor {
  checkFunction('buffer', initial)
  const made = withoutScope(() => noGrad(() => scope(initial)))
  if (!(made instanceof Tensor) || made.dtype === 'float16')
    throw refusal('buffer', made, 'a function that returns a float32 or int32 tensor', 'its result')
  buffers.add(made)
  return made
}

/** Returns every parameter and buffer, under the first of its names. */
function firstNames(module: Module): [string, Tensor][] {
  const found = new Map<Tensor, string>()
  for (const [name, t] of everyName(module)) if (!found.has(t)) found.set(t, name)
  return [...found].map(([t, name]) => [name, t])
}

/**
 * Returns every parameter and buffer under each of its names.
 * @param around the modules that contain `module`; a module that holds one of them is not entered again
 * @param found receives the result
 */
function everyName(module: Module, prefix = '', around: Module[] = [], found: [string, Tensor][] = []): [string, Tensor][] {
  around.push(module)
  for (const [name, value] of Object.entries(module)) {
    if (value instanceof Tensor) found.push([prefix + name, value])
    else {
      const list: readonly unknown[] = Array.isArray(value) ? value : []
      for (const [i, item] of list.entries()) if (item instanceof Tensor) found.push([`${prefix}${name}.${i}`, item])
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
  const first = new Map<Tensor, string>()
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

/** Returns the modules that a field holds, with their names: itself, or those of an array. */
function modulesIn(name: string, value: unknown): [string, Module][] {
  if (value instanceof Module) return [[name, value]]
  if (!Array.isArray(value)) return []
  return value.flatMap((item, i): [string, Module][] => (item instanceof Module ? [[`${name}.${i}`, item]] : []))
}
