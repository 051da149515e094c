import { type Activation, type ActivationOp, activation, activationBackward } from '../../kernels/activation/activation.ts'
import { toFloat } from '../autograd/cast.ts'
import { checkNoMore, checkNumber, refusal } from '../base/checks.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { gt } from './compare.ts'
import { defineFunction } from './defineFunction.ts'
import { add, mul, sigmoid, sub } from './elementwise.ts'
import { exactGelu } from './exactGelu.ts'
import { where } from './where.ts'

type Parameters = Pick<Activation, 'slope'>

function define(
  name: string,
  op: ActivationOp,
  derivative: (grad: Tensor, x: Tensor, args: Parameters) => Tensor,
): (x: Tensor, args: Parameters) => Tensor {
  return defineFunction<ActivationOp, Parameters>({
    ...{ name, op, forward: activation, backward: activationBackward, saves: 'input' },
    derivative: (grad, ctx, args) => derivative(grad, ctx.input(0), args),
  })
}

const siluOp = define('silu', 'silu', (grad, x) => {
  const s = sigmoid(x)
  return mul(grad, mul(s, add(mul(x, sub(1, s)), 1)))
})

/**
 * SiLU or swish (Elfwing et al., arXiv 1702.03118), x / (1 + e^-x), of float32 or float16; int32 is computed in float32. It is NaN at
 * -Infinity, as in PyTorch.
 */
export function silu(x: Tensor, ...extra: []): Tensor {
  checkTensor('silu', x)
  checkNoMore('silu', extra)
  return siluOp(toFloat(x), { slope: 0 })
}

const softplusOp = define('softplus', 'softplus', (grad, x) => mul(grad, sigmoid(x)))

/** log(1 + e^x), which does not overflow, of float32 or float16; int32 is computed in float32. */
export function softplus(x: Tensor, ...extra: []): Tensor {
  checkTensor('softplus', x)
  checkNoMore('softplus', extra)
  return softplusOp(toFloat(x), { slope: 0 })
}

const leakyReluOp = define('leakyRelu', 'leakyRelu', (grad, x, { slope }) => where(gt(x, 0), grad, mul(grad, slope)))

/**
 * x where it is positive, else x times the slope, of float32 or float16; int32 is computed in float32. The gradient at 0 is the
 * slope, as in PyTorch.
 * @throws ArgumentError when the slope is no number
 */
export function leakyRelu(x: Tensor, slope = 0.01, ...extra: []): Tensor {
  checkTensor('leakyRelu', x)
  checkNumber('leakyRelu', slope, 'slope')
  checkNoMore('leakyRelu', extra)
  return leakyReluOp(toFloat(x), { slope })
}

const geluTanh = define('gelu', 'geluTanh', (grad, x) => {
  const [a, b] = [2 * Math.sqrt(2 / Math.PI), 2 * Math.sqrt(2 / Math.PI) * 0.044715]
  const square = mul(x, x)
  const s = sigmoid(mul(x, add(mul(square, b), a)))
  const slope = add(mul(square, 3 * b), a)
  return mul(grad, add(s, mul(x, mul(mul(s, sub(1, s)), slope))))
})

export interface GeluOptions {
  /** 'tanh' puts a tanh in place of the error function, as GPT-2 has it; default 'none', the exact form. */
  approximate?: 'none' | 'tanh'
}

const OPTIONS: OptionNames<GeluOptions> = { approximate: true }

/**
 * GELU (Hendrycks and Gimpel, arXiv 1606.08415), x (1 + erf(x / sqrt(2))) / 2, of float32 or float16; int32 is computed in float32.
 * It is NaN at -Infinity, as in PyTorch, and its gradient is NaN at both infinities.
 * @throws ArgumentError for an unknown option or another approximation
 */
export function gelu(x: Tensor, options?: GeluOptions, ...extra: []): Tensor {
  checkTensor('gelu', x)
  // `Array.prototype.map` gives the index and the list, which are no options.
  const mapped = typeof options === 'number' && Array.isArray((extra as unknown[])[0])
  if (!mapped) checkNoMore('gelu', extra)
  const given = mapped ? undefined : options
  checkOptions('gelu', given, OPTIONS)
  const { approximate = 'none' } = given ?? {}
  if (approximate !== 'none' && approximate !== 'tanh') throw refusal('gelu', approximate, "'none' or 'tanh'", 'approximate')
  return approximate === 'tanh' ? geluTanh(toFloat(x), { slope: 0 }) : exactGelu(x)
}
