import { checkFunction, refusal, synchronous } from '../base/checks.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import type { Device } from '../device/device.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { rowMajorLayout } from '../layout/shape.ts'
import type { Storage } from '../memory/storage.ts'
import { changesSoFar } from '../memory/version.ts'
import { withoutScope } from '../tensor/scope.ts'
import { Tensor, view } from '../tensor/tensor.ts'
import { cast, castDetached } from './cast.ts'

/** The dtype of the innermost `autocast`; undefined for float32 and outside any. */
const lower = new ContextVariable<'float16' | undefined>(undefined)
/** How many calls of `autocast` are running. */
let depth = 0
/** Casts of parameters, by the storage that they lie in; they live until the outermost `autocast` ends. */
const copies = new ContextVariable(new Map<Storage<Device>, { copy: Tensor; madeAt: number }>())

/**
 * Runs `fn` in mixed precision (Micikevicius et al., arXiv 1710.03740). Inside, matrix products and attention take operands of `dtype`,
 * accumulate in float32, give results of `dtype` unless they add a residual or an option says otherwise, and save values of `dtype` for
 * backward. LayerNorm, RMSNorm, softmax and cross-entropy compute in float32, and so does arithmetic on tensors of both dtypes. A gradient
 * has the dtype of its tensor, so float32 parameters get float32 gradients straight from the products. Parameters are cast once and again
 * after a change; all parameters of one allocation (an arena) are cast in one dispatch. The backward pass may run inside or later.
 * @param dtype 'float32' turns off an `autocast` around this one
 * @throws ArgumentError for another dtype, or when `fn` is no function or returns a promise; UserError from the first product on a device
 *   without float16
 */
export function autocast<T>(dtype: 'float32' | 'float16', fn: () => T): T {
  if (dtype !== 'float16' && dtype !== 'float32') throw refusal('autocast', dtype, "'float16' or 'float32'")
  checkFunction('autocast', fn)
  depth++
  try {
    return synchronous('autocast', lower.run(dtype === 'float16' ? dtype : undefined, fn))
  } finally {
    if (--depth === 0) dropCopies()
  }
}

/** The dtype of the innermost `autocast`, float32 outside any. */
export function autocastDtype(): 'float32' | 'float16' {
  return lower.current ?? 'float32'
}

/**
 * Runs `fn` with an empty cache of casts, which is freed at the end. A capture needs it: every replay must cast the parameters again, and
 * casts that it records hold no values outside.
 */
export function withOwnCopies<T>(fn: () => T): T {
  return copies.run(new Map(), () => {
    try {
      return fn()
    } finally {
      dropCopies()
    }
  })
}

function dropCopies(): void {
  for (const { copy } of copies.current.values()) copy.dispose()
  copies.current.clear()
}

/** The dtype for products of these tensors: that of `autocast`, else the dtype that they share; undefined where they share no float dtype. */
export function computeDtype(tensors: readonly Tensor[]): Dtype | undefined {
  const [first] = tensors as [Tensor]
  if (lower.current && tensors.every(({ dtype }) => isFloat(dtype))) return lower.current
  return isFloat(first.dtype) && tensors.every(({ dtype }) => dtype === first.dtype) ? first.dtype : undefined
}

/** Returns a tensor cast to `dtype`, off the tape. Inside `autocast` the cast of a parameter is a view of a cached cast of its whole storage. */
export function castCached(t: Tensor, dtype: Dtype): Tensor {
  if (t.dtype === dtype || depth === 0 || !t.requiresGrad || t.node) return castDetached(t, dtype)
  const { storage } = t
  let cached = copies.current.get(storage)
  if (!cached || t.version.changedAt > cached.madeAt) {
    cached?.copy.dispose()
    const copy = withoutScope(() => {
      const whole = new Tensor(storage.retain(), rowMajorLayout([storage.bytes / 4]), t.dtype)
      const cast = castDetached(whole, dtype)
      whole.dispose()
      return cast
    })
    cached = { copy, madeAt: changesSoFar() }
    copies.current.set(storage, cached)
  }
  return view(cached.copy, t)
}

/** Inside `autocast`, casts a float32 tensor to its dtype, on the tape. */
export function toLowerPrecision(t: Tensor): Tensor {
  return lower.current && t.dtype === 'float32' ? cast(t, lower.current) : t
}

/** Inside `autocast`, casts a float16 tensor to float32, on the tape, for ops that take no float16. */
export function toFloat32(t: Tensor): Tensor {
  return lower.current && t.dtype === 'float16' ? cast(t, 'float32') : t
}

/**
 * Casts tensors to the one dtype in which they meet, on the tape: int32 with a float gives the float, and float16 with float32 gives
 * float32. This is the only rule of promotion; numbers beside tensors take the dtype of the tensors.
 */
export function promoteTypes(tensors: readonly Tensor[]): readonly Tensor[] {
  if (tensors.every(({ dtype }) => dtype === tensors[0]!.dtype)) return tensors
  const dtype = tensors.some((t) => t.dtype === 'float32') ? 'float32' : 'float16'
  return tensors.map((t) => (t.dtype === dtype ? t : cast(t, dtype)))
}
