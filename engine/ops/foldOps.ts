import type { FoldOp } from '../../kernels/fold/index.ts'
import { noGrad } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { div, exp, mul, sub } from './elementwise.ts'
import { checkFloats, defineFold, foldDims, type KeepdimOptions, keepdimOf, keptShape } from './fold.ts'
import { reshape } from './shape.ts'
import { where } from './where.ts'

/** Makes the public function of a reduction. @param check refuses tensors that it does not take */
function define(name: FoldOp, op: ReturnType<typeof defineFold>, check: (op: string, x: Tensor) => void) {
  return (x: Tensor, dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions, ...extra: []): Tensor => {
    check(name, x)
    checkNoMore(name, extra)
    return foldDims(name, x, dim, keepdimOf(name, keepdim), (t, pass) => op([t], { pass, scale: 1, degenerate: false }))
  }
}

const normOp = defineFold('norm', 'norm', {
  derivative(ctx, grad, { pass }) {
    const y = reshape(ctx.output(), keptShape(pass))
    return mul(ctx.input(0), div(grad, where(y.detach(), y, 1)))
  },
})

/**
 * The Euclidean norm over one or more dims, the root of the sum of squares. Its gradient where it is 0 is 0, as in PyTorch.
 * @param x float32 or float16 (which computes in float32), any shape
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1; also as `{ keepdim }`
 * @throws ShapeError for int32, a dim that x does not have, or one named twice; ArgumentError for unknown options
 */
export const norm = define('norm', normOp, checkFloats)

const logsumexpOp = defineFold('logsumexp', 'logsumexp', {
  derivative: (ctx, grad, { pass }) => mul(grad, exp(sub(ctx.input(0), reshape(ctx.output(), keptShape(pass))))),
})

/**
 * The logarithm of the sum of exponentials over one or more dims, which large elements do not make overflow. It is -Infinity where all
 * elements are.
 * @param x float32 or float16 (which computes in float32), any shape
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1; also as `{ keepdim }`
 * @throws ShapeError for int32, a dim that x does not have, or one named twice; ArgumentError for unknown options
 */
export const logsumexp = define('logsumexp', logsumexpOp, checkFloats)

/**
 * The product over one or more dims. Its gradient is right where elements are 0, too. It has no second derivative.
 * @param x float32, float16 (which computes in float32) or int32 (which wraps around), any shape
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1; also as `{ keepdim }`
 * @throws ShapeError for a dim that x does not have, or one named twice; ArgumentError for unknown options
 */
export const prod = define('prod', defineFold('prod', 'prod', {}), checkTensor)

/** Makes `any` or `all`, through which no gradient flows. */
function defineTruth(name: 'any' | 'all') {
  const reduce = define(name, defineFold(name, name, {}), checkTensor)
  return (x: Tensor, dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions, ...extra: []): Tensor =>
    noGrad(() => reduce(x, dim, keepdim, ...extra))
}

/**
 * Tells over one or more dims whether an element is not 0 (NaN counts as not 0).
 * @param x any shape and dtype
 * @param dim a dim or a list of dims; by default all. Negative numbers count back
 * @param keepdim whether reduced dims stay, with size 1; also as `{ keepdim }`
 * @returns int32, 0 or 1
 * @throws ShapeError for a dim that x does not have, or one named twice; ArgumentError for unknown options
 */
export const any = defineTruth('any')

/** Tells over one or more dims whether no element is 0; otherwise as `any`. @throws ShapeError, ArgumentError as `any` */
export const all = defineTruth('all')
