// Operands that may be numbers.
import { wordOf } from '../../kernels/copy/fill.ts'
import { fromHalf, toHalf } from '../../kernels/half.ts'
import type { Shape } from '../layout/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkInt } from './create.ts'

/** An operand of arithmetic. A number counts as a tensor of rank 0 of the other operand's dtype. */
export type Operand = Tensor | number

export type Shapes = readonly [a: Shape, b: Shape]

export type OptionalTensors = [a: Tensor | undefined, b: Tensor | undefined]

/** The numbers among two operands, by their places, and the shapes of both operands. */
export interface OperandArguments {
  numbers: readonly [a: number, b: number]
  shapes: Shapes
}

/** Splits two operands into tensors and numbers; each is missing, or 0, in the place of the other. */
export function splitOperands(a: Operand, b: Operand): { tensors: OptionalTensors; args: OperandArguments } {
  const tensors = [a, b].map((x) => (typeof x === 'number' ? undefined : x)) as OptionalTensors
  const numbers = [a, b].map((x) => (typeof x === 'number' ? x : 0)) as [number, number]
  return { tensors, args: { numbers, shapes: [tensors[0]?.shape ?? [], tensors[1]?.shape ?? []] } }
}

/** The bits of a number beside a tensor, whose dtype it takes. */
export function wordBeside(op: string, { dtype }: Tensor, number: number): number {
  if (dtype === 'int32') {
    checkInt(op, number)
    return wordOf(number, 'i32')
  }
  return wordOf(dtype === 'float16' ? fromHalf(toHalf(number)) : number, 'f32')
}
