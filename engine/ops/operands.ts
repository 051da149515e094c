// Operands that may be numbers.
import type { Shape } from '../layout/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'

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
