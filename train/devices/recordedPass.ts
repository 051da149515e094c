import { type Captured, capture, type Tensor, withoutScope } from '../../engine/index.ts'
import type { Parameter } from '../../model/index.ts'

/**
 * Like `capture`, for a function that leaves gradients to parameters: a replay does on the device what recording did, and here what it did
 * on the host. What is added to gradients and what makes them are different recordings.
 */
export class RecordedPass<I extends readonly Tensor[], R> {
  readonly #fn: (...inputs: I) => R
  readonly #parameters: readonly Parameter[]
  readonly #recorded = new Map<string, { run: Captured<I, R>; reached?: readonly Parameter[] }>()

  /** @param parameters that gradients may reach, all in arenas, which outlive the pass */
  constructor(fn: (...inputs: I) => R, parameters: readonly Parameter[]) {
    this.#fn = fn
    this.#parameters = parameters
  }

  /** The results of the call before are overwritten. */
  run(...inputs: I): R {
    const key = this.#parameters.map(({ grad }) => (grad ? '1' : '0')).join('')
    let recorded = this.#recorded.get(key)
    if (!recorded) {
      recorded = { run: capture(this.#fn) }
      this.#recorded.set(key, recorded)
    }
    const result = recorded.run(...inputs)
    recorded.reached ??= this.#parameters.filter(({ grad }) => grad)
    for (const parameter of recorded.reached) parameter.grad ??= withoutScope(() => parameter.gradSlot!.detach())
    return result
  }

  dispose(): void {
    for (const { run } of this.#recorded.values()) run.dispose()
  }
}
