import { sigmoid } from '../elementwise/reference.ts'
import { type FunctionOf, functionReferences } from '../functions.ts'
import type { Activation, ActivationOp } from './activation.ts'

/** The argument of the logistic function that stands for that of the error function in GELU, and its derivative. */
const inner = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)
const innerSlope = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x ** 2)

/** Functions and derivatives of x. */
export const activationFunctions: Record<ActivationOp, FunctionOf<Activation>> = {
  silu: { f: (x) => x * sigmoid(x), derivative: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))) },
  softplus: { f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), derivative: sigmoid },
  leakyRelu: {
    f: (x, { slope }) => (x > 0 ? x : x * Math.fround(slope)),
    derivative: (x, { slope }) => (x > 0 ? 1 : Math.fround(slope)),
  },
  geluTanh: {
    f: (x) => x * sigmoid(inner(x)),
    derivative: (x) => {
      const s = sigmoid(inner(x))
      return s + x * (Math.abs(x) > 20 ? 0 : s * (1 - s) * innerSlope(x))
    },
  },
}

export const { forward: activationReference, backward: activationBackwardReference } =
  functionReferences<Activation>(activationFunctions)
