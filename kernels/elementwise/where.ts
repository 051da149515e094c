import { type Layout, type NestProblem, nest } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import { type KernelSpec, reads, type Scalar, writes } from '../spec.ts'
import whereSource from './where.wgsl'

export type Where = NestProblem

const operands = nest('condition', 'a', 'b')

export function whereProblem(shape: readonly number[], condition: Layout, a: Layout, b: Layout): Where {
  return operands.problem(shape, [condition, a, b])
}

function makeWhere(name: string, condition: Scalar): KernelSpec<Where> {
  return {
    name,
    bindings: [...reads(condition, 'condition'), ...reads('u32', 'a', 'b'), ...writes('u32', 'out')],
    params: operands.params,
    variants: [stridedVariant(whereSource, () => ({ NOT_ZERO: condition === 'f32' ? 0x7fffffff : 0xffffffff }))],
    flops: () => 0,
    bytes: ({ rows, inner }) => 16 * rows * inner,
  }
}

/**
 * out = condition ? a : b over a shape. The condition is float32 and true unless it is 0; NaN and subnormals are true. a and b are
 * of one 4-byte type.
 */
export const where = makeWhere('where', 'f32')
/** The same with an int32 condition. */
export const whereInt = makeWhere('whereInt', 'i32')
