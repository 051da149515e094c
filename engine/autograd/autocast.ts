import { checkFunction, refusal, synchronous } from '../base/checks.ts'
import type { Device } from '../device/device.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import type { Storage } from '../memory/storage.ts'
import { changesSoFar } from '../memory/version.ts'
import { withoutScope } from '../tensor/scope.ts'
import { Tensor, view } from '../tensor/tensor.ts'
import { cast, converted } from './cast.ts'

let computing: 'float16' | undefined
/** Parameters as `computing`, by the memory they lie in; kept until the outermost `autocast` ends. */
let copies = new Map<Storage<Device>, { copy: Tensor; madeAt: number }>()

/**
 * Mixed precision: inside `fn` matrix products and attention compute with operands of `dtype` (sums are float32) and give results of it,
 * unless they add a residual or are told otherwise; what backward needs of them is kept in it. LayerNorm, softmax and cross-entropy take
 * float32, and arithmetic on two types is done in it. Gradients have the dtype of their tensors: those of float32 parameters are float32,
 * straight from the products. Parameters are converted once, and again after a change, all that share an allocation (an arena) in one
 * dispatch. The backward pass may run inside or later.
 * @param dtype 'float32' turns it off inside another one
 * @throws ArgumentError for another dtype, or when `fn` is no function, or asynchronous: what follows its first await would not be cast;
 *   UserError from the first product on a device without float16
 */
export function autocast<T>(dtype: 'float32' | 'float16', fn: () => T): T {
  if (dtype !== 'float16' && dtype !== 'float32') throw refusal('autocast', dtype, "'float16' or 'float32'")
  checkFunction('autocast', fn)
  const outer = computing
  computing = dtype === 'float16' ? dtype : undefined
  autocasts++
  try {
    return synchronous('autocast', fn())
  } finally {
    computing = outer
    if (--autocasts === 0) dropCopies()
  }
}

/** What the innermost `autocast` computes with. */
export function autocastDtype(): 'float32' | 'float16' {
  return computing ?? 'float32'
}

/**
 * Runs `fn` with copies of its own: a capture must convert parameters anew in every replay, and what it converted is no memory to
 * anybody outside.
 */
export function withOwnCopies<T>(fn: () => T): T {
  const outer = copies
  copies = new Map()
  try {
    return fn()
  } finally {
    dropCopies()
    copies = outer
  }
}

function dropCopies(): void {
  for (const { copy } of copies.values()) copy.dispose()
  copies.clear()
}

/** Calls of `autocast` that run. */
let autocasts = 0

/** What products of these tensors compute with: the type of `autocast`, else the one they share; undefined where they share none. */
export function computeDtype(tensors: readonly Tensor[]): Dtype | undefined {
  const [first] = tensors as [Tensor]
  if (computing && tensors.every(({ dtype }) => isFloat(dtype))) return computing
  return isFloat(first.dtype) && tensors.every(({ dtype }) => dtype === first.dtype) ? first.dtype : undefined
}

/** A tensor as a product computes with it, off the tape: itself, or a copy that parameters share. */
export function castCached(t: Tensor, dtype: Dtype): Tensor {
  if (t.dtype === dtype || autocasts === 0 || !t.requiresGrad || t.node) return converted(t, dtype)
  const { storage } = t
  let kept = copies.get(storage)
  if (!kept || t.version.changedAt > kept.madeAt) {
    kept?.copy.dispose()
    const copy = withoutScope(() => {
      const whole = new Tensor(storage.retain(), [storage.bytes / 4], [1], 0, t.dtype)
      const made = converted(whole, dtype)
      whole.dispose()
      return made
    })
    kept = { copy, madeAt: changesSoFar() }
    copies.set(storage, kept)
  }
  return view(kept.copy, t.shape, t.strides, t.offset)
}

/** Inside `autocast` the tensor as its type, on the tape. */
export function toLowerPrecision(t: Tensor): Tensor {
  return computing && t.dtype === 'float32' ? cast(t, computing) : t
}

/** Inside `autocast` a float16 tensor as float32, on the tape, for ops that take nothing else. */
export function toFloat32(t: Tensor): Tensor {
  return computing && t.dtype === 'float16' ? cast(t, 'float32') : t
}

/** Inside `autocast` tensors of float32 and float16 all as float32, on the tape. */
export function promoteTypes(tensors: readonly Tensor[]): readonly Tensor[] {
  return computing && tensors.some(({ dtype }) => dtype === 'float32') ? tensors.map(toFloat32) : tensors
}
