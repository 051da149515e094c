import type { Capabilities } from '../../kernels/spec.ts'
import { getOrMake } from '../base/maps.ts'
import type { TensorLayout } from './tensorLayout.ts'

/** The most results that a memo keeps. Beyond, it begins anew. */
const KEPT = 1024

/** The problems of kernels that memos made, each of which many launches share. */
const shared = new WeakSet<object>()

/** Whether a kernel's problem comes from a memo, so that what a device decides for it is worth keeping. */
export function isShared(problem: object): boolean {
  return shared.has(problem)
}

/** Marks a kernel's problem as one that many launches share. Nothing changes it any more. */
export function share<P extends object>(problem: P): P {
  shared.add(problem)
  return problem
}

/** Remembers what a function makes of two layouts, for as many pairs as `KEPT`. An error is not remembered. */
export function byLayouts<R>(make: (a: TensorLayout, b: TensorLayout) => R): (a: TensorLayout, b: TensorLayout) => R {
  const rows = new Map<number, Map<number, R>>()
  let kept = 0
  return (a, b) => {
    const found = rows.get(a.id)?.get(b.id)
    if (found !== undefined) return found
    const result = make(a, b)
    if (kept++ >= KEPT) {
      rows.clear()
      kept = 1
    }
    let row = rows.get(a.id)
    if (!row) {
      row = new Map()
      rows.set(a.id, row)
    }
    row.set(b.id, result)
    return result
  }
}

/** Remembers what a function makes for each device. */
export function byDevice<R>(make: (device: Capabilities) => R): (device: Capabilities) => R {
  const made = new WeakMap<Capabilities, R>()
  return (device) => getOrMake(made, device, () => make(device))
}

/** The most results that a memo of numbers keeps. Beyond, it begins anew. */
const KEPT_NUMBERS = 64

/** Remembers what a function makes of a number, for as many numbers as `KEPT_NUMBERS`. */
export function byNumber<R>(make: (value: number) => R): (value: number) => R {
  const made = new Map<number, R>()
  return (value) => {
    // A Map takes -0 for 0.
    if (Object.is(value, -0)) return make(value)
    const found = made.get(value)
    if (found !== undefined) return found
    if (made.size >= KEPT_NUMBERS) made.clear()
    const result = make(value)
    made.set(value, result)
    return result
  }
}
