import type { Scalar } from '../../kernels/spec.ts'
import { checkText, refusal } from '../base/checks.ts'
import { ShapeError, UserError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'

/** The element type of a tensor. float16 needs a device with the feature shader-f16. */
export type Dtype = 'float32' | 'float16' | 'int32'

/** The bytes of one element of each dtype. */
export const ITEM_BYTES: Readonly<Record<Dtype, number>> = { float32: 4, float16: 2, int32: 4 }

/** All dtypes. */
export const DTYPES = Object.keys(ITEM_BYTES) as readonly Dtype[]

/** The least and the largest number of int32. */
export const [INT32_MIN, INT32_MAX] = [-(2 ** 31), 2 ** 31 - 1] as const

/** Alignment of the start of a binding, in bytes. */
const BINDING_BYTES = 256

/** Returns the alignment of the start of a binding, in elements. */
export function bindingAlignment(dtype: Dtype): number {
  return BINDING_BYTES / ITEM_BYTES[dtype]
}

/** Whether tensors of the type can have gradients, which have the same type. */
export function isFloat(dtype: Dtype): boolean {
  return dtype !== 'int32'
}

/** Returns the name that kernels have for a floating-point type. */
export function scalarOf(dtype: Dtype): Extract<Scalar, 'f32' | 'f16'> {
  return dtype === 'float16' ? 'f16' : 'f32'
}

/** @throws ShapeError for float16, in an op that takes 4-byte types only */
export function refuseHalf(op: string, { dtype }: { dtype: Dtype }): void {
  if (dtype === 'float16') throw new ShapeError(`${op}: got float16, takes float32 or int32; use cast()`)
}

/** Describes for a message what was given as a dtype: a name as it is, any other value by its kind. */
export function nameOf(dtype: unknown): string {
  return typeof dtype === 'string' && /^\w{1,20}$/.test(dtype) ? dtype : kindOf(dtype)
}

/** The parts of a device that say whether it has float16, and its name. */
export interface HalfSupport {
  readonly capabilities: { readonly f16: boolean }
  readonly summary: { readonly name: string }
}

/** @throws ShapeError unless tensors can have the dtype; UserError for float16 on a device without it */
export function checkDtype(op: string, dtype: Dtype, device: HalfSupport): void {
  if (typeof dtype !== 'string' || !Object.hasOwn(ITEM_BYTES, dtype)) {
    throw new ShapeError(`${op}: got dtype ${nameOf(dtype)}, takes float32, float16 or int32`)
  }
  if (dtype === 'float16') requireFloat16(op, device)
}

/**
 * @param what names what needs float16, at the start of the message
 * @param instead says what to do without it
 * @throws UserError unless the device has float16; ArgumentError unless `device` is a device, and `what` and `instead` are text
 */
export function requireFloat16(what: string, device: HalfSupport, instead = 'use float32 or another adapter'): void {
  if (device?.capabilities === undefined) throw refusal('requireFloat16', device, 'a device', 'device')
  checkText('requireFloat16', what, 'what')
  checkText('requireFloat16', instead, 'instead')
  const { capabilities, summary } = device
  if (capabilities.f16) return
  throw new UserError(`${what} needs shader-f16, this device has none (${summary.name}); ${instead}`)
}
