import { countVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, reads, SCALAR_BYTES, scalars, writes } from '../spec.ts'
import unarySource from './unary.wgsl'
import unaryBackwardSource from './unaryBackward.wgsl'

/** Functions of one operand, by their numbers in unary.wgsl. */
export const UNARY = { neg: 0, exp: 1, log: 2, sqrt: 3, tanh: 4, relu: 5, gelu: 6, sigmoid: 7 } as const

export type UnaryOp = keyof typeof UNARY

/** A function of `count` neighbouring elements. */
export interface Unary<Op extends UnaryOp = UnaryOp> {
  op: Op
  count: number
}

/** The gradient of a function. The backward of `neg` is `neg`. */
export type UnaryBackward = Unary<Exclude<UnaryOp, 'neg'>>

/** Functions whose derivative is computed from x. The derivative of the others follows from y. */
export const SAVES_INPUT: ReadonlySet<UnaryOp> = new Set<UnaryOp>(['log', 'gelu'])

function make<P extends Unary>(
  name: string,
  dtype: 'f32' | 'f16',
  source: string,
  inputs: readonly string[],
  output: string,
): KernelSpec<P> {
  return {
    name,
    bindings: [...reads(dtype, ...inputs), ...writes(dtype, output)],
    params: [branchStrides(inputs.length + 1), ...scalars('u32', 'count')],
    variants: [countVariant(source, ({ op }) => ({ Stored: dtype, OP: UNARY[op] }), dtype === 'f16')],
    flops: ({ count }) => count,
    bytes: ({ count }) => (inputs.length + 1) * SCALAR_BYTES[dtype] * count,
  }
}

/** y [count] = f(x [count]), float32. `gelu` is the exact (erf) form. */
export const unary: KernelSpec<Unary> = {
  ...make<Unary>('unary', 'f32', unarySource, ['x'], 'y'),
  chainStep: ({ op, count }) =>
    op === 'neg' || op === 'sqrt' || op === 'relu' ? { op, count, a: 0, b: 0, out: 1, number: 0 } : undefined,
}
/** y [count] = f(x [count]), float16 computed in float32. */
export const unaryHalf = make<Unary>('unaryHalf', 'f16', unarySource, ['x'], 'y')
/** out [count] = grad f'(x), float32, where `saved` is x or y as `SAVES_INPUT` says. */
export const unaryBackward = make<UnaryBackward>('unaryBackward', 'f32', unaryBackwardSource, ['grad', 'saved'], 'out')
/** out [count] = grad f'(x), float16 computed in float32. */
export const unaryBackwardHalf = make<UnaryBackward>('unaryBackwardHalf', 'f16', unaryBackwardSource, ['grad', 'saved'], 'out')
