import { checkFunction, synchronous } from '../base/checks.ts'
import { walk } from '../base/pytree.ts'

/** Anything that `scope` frees. */
export interface Disposable {
  dispose(): void
  /** The scope is over and `outer`, if any, takes the object over. */
  adopt(outer: Scope | undefined): void
}

function isDisposable(object: object): object is Disposable {
  return 'adopt' in object
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
 * Frees every tensor made inside `fn` when it ends, but for those in its result (itself, or in lists, Maps, Sets and public fields of objects
 * in it), and gradients of leaves made outside. What backward still needs stays until backward has run.
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
    walk(result, (object) => {
      kept.add(object)
      return !isDisposable(object)
    })
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
