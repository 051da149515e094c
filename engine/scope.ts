import { checkFunction, synchronous } from './checks.ts'

/** Anything that `scope` frees. */
export interface Disposable {
  dispose(): void
  /** The scope is over and `outer`, if any, takes the object over. */
  adopt(outer: Scope | undefined): void
}

/** What a scope made and has not let go. */
export class Scope {
  readonly #made = new Set<Disposable>()

  add(one: Disposable): void {
    this.#made.add(one)
  }

  delete(one: Disposable): void {
    this.#made.delete(one)
  }

  /** Frees all but `kept`, which `outer` takes over. */
  end(kept: ReadonlySet<unknown>, outer: Scope | undefined): void {
    for (const one of this.#made) {
      if (kept.has(one)) one.adopt(outer)
      else one.dispose()
    }
  }
}

let innermost: Scope | undefined

/** The innermost scope running. */
export function currentScope(): Scope | undefined {
  return innermost
}

/**
 * Frees every tensor made inside `fn` when it ends, but for those in its result (itself, or in arrays, maps and plain
 * objects of it), and gradients of leaves made outside. What backward still needs stays until backward has run.
 * @throws ArgumentError when `fn` is no function, or asynchronous: read results after the scope
 */
export function scope<T>(fn: () => T): T {
  checkFunction('scope', fn)
  const outer = innermost
  const inner = new Scope()
  innermost = inner
  const kept = new Set<unknown>()
  try {
    const result = synchronous('scope', fn())
    collect(result, kept)
    return result
  } finally {
    innermost = outer
    inner.end(kept, outer)
  }
}

/** Runs `fn` outside any scope: what it makes lives until it is disposed. @throws ArgumentError when it is no function */
export function withoutScope<T>(fn: () => T): T {
  checkFunction('withoutScope', fn)
  const outer = innermost
  innermost = undefined
  try {
    return fn()
  } finally {
    innermost = outer
  }
}

function collect(value: unknown, into: Set<unknown>): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || into.has(value)) return
  into.add(value)
  if ('dispose' in value) return
  if (value instanceof Map) for (const one of value.values()) collect(one, into)
  else if (Symbol.iterator in value) for (const one of value as Iterable<unknown>) collect(one, into)
  else if (Object.getPrototypeOf(value) === Object.prototype) for (const one of Object.values(value)) collect(one, into)
}
