import { checkFunction, synchronous } from '../base/checks.ts'
import { walk } from '../base/pytree.ts'

/** An object that `scope` frees. */
interface Disposable {
  dispose(): void
  /** Moves the object to the scope `outer`, because its own scope ends; undefined leaves it to the caller. */
  adopt(outer: Scope | undefined): void
}

function isDisposable(object: object): object is Disposable {
  return 'adopt' in object
}

/** The objects that were made in a scope and still belong to it. */
export class Scope {
  readonly #members = new Set<Disposable>()

  add(object: Disposable): void {
    this.#members.add(object)
  }

  delete(object: Disposable): void {
    this.#members.delete(object)
  }

  /** Moves the members in `kept` to the scope `outer` and frees the others. */
  end(kept: ReadonlySet<unknown>, outer: Scope | undefined): void {
    for (const object of this.#members) {
      if (kept.has(object)) object.adopt(outer)
      else object.dispose()
    }
  }
}

let innermost: Scope | undefined

/** The innermost scope that is running, if any. */
export function currentScope(): Scope | undefined {
  return innermost
}

/**
 * Runs `fn`, then frees the tensors that were made inside it. Tensors in the result stay (the result itself, and tensors in its lists, Maps,
 * Sets and public fields), as do gradients of leaves made outside. Memory that backward needs stays until backward has run.
 * @throws ArgumentError when `fn` is no function or returns a promise: read values after the scope
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

/** Runs `fn` outside any scope: tensors made inside live until they are disposed. @throws ArgumentError when `fn` is no function */
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
