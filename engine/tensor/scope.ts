import { checkFunction, synchronous } from '../base/checks.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import { walk } from '../base/pytree.ts'

/** An object that `scope` frees. */
interface Disposable {
  /** The object's place among the members of its scope, which `Scope` sets. */
  place: number
  dispose(): void
  /** Moves the object to the scope `outer`, because its own scope ends; undefined leaves it to the caller. */
  adopt(outer: Scope | undefined): void
}

function isDisposable(object: object): object is Disposable {
  return 'adopt' in object
}

/** The objects that were made in a scope and still belong to it. */
export class Scope {
  readonly #members: Disposable[] = []

  add(object: Disposable): void {
    object.place = this.#members.push(object) - 1
  }

  /** Takes an object out, unless the end of the scope has done so. The last member takes its place. */
  delete(object: Disposable): void {
    const members = this.#members
    if (members[object.place] !== object) return
    const last = members.pop()!
    if (last === object) return
    members[object.place] = last
    last.place = object.place
  }

  /** Moves the members that `keeps` names to the scope `outer` and frees the others. */
  end(keeps: (object: unknown) => boolean, outer: Scope | undefined): void {
    for (let object = this.#members.pop(); object; object = this.#members.pop()) {
      if (keeps(object)) object.adopt(outer)
      else object.dispose()
    }
  }
}

/** The innermost scope that is running, if any. */
export const innermostScope = new ContextVariable<Scope | undefined>(undefined)

/**
 * Runs `fn`, then frees the tensors that were made inside it. Tensors in the result stay (the result itself, and tensors in its lists, Maps,
 * Sets and public fields), as do gradients of leaves made outside. Memory that backward needs stays until backward has run.
 * @throws ArgumentError when `fn` is no function or returns a promise: read values after the scope
 */
export function scope<T>(fn: () => T): T {
  checkFunction('scope', fn)
  const outer = innermostScope.current
  const inner = new Scope()
  const kept = new Set<unknown>()
  try {
    const result = synchronous('scope', innermostScope.run(inner, fn))
    walk(result, (object) => {
      kept.add(object)
      return !isDisposable(object)
    })
    return result
  } finally {
    inner.end((object) => kept.has(object), outer)
  }
}

/** Runs `fn` outside any scope: tensors made inside live until they are disposed. @throws ArgumentError when `fn` is no function */
export function withoutScope<T>(fn: () => T): T {
  checkFunction('withoutScope', fn)
  return innermostScope.run(undefined, fn)
}
