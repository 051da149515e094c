import { scope, type Tensor } from '../engine/index.ts'

/** Is handed every intermediate value of a forward pass with its name, such as `branches.0.layers.1.attention`. */
export type Tap = (name: string, value: Tensor) => void

/** The tap that a part of a model calls with its own short names. */
export function under(tap: Tap | undefined, prefix: string): Tap | undefined {
  return tap && ((name, value) => tap(`${prefix}.${name}`, value))
}

/** Frees what `fn` makes on the way to its result, unless somebody taps it: then all lives as long as the caller's scope. */
export function tidy<T>(tap: Tap | undefined, fn: () => T): T {
  return tap ? fn() : scope(fn)
}
