import { type NestProblem, nest } from '../layout.ts'
import { stridedVariant } from '../runs.ts'
import { type KernelSpec, reads, type Scalar, writes } from '../spec.ts'
import whereSource from './where.wgsl'

const operands = nest('condition', 'a', 'b')
export const whereProblem = operands.problem

function makeWhere(name: string, condition: Scalar): KernelSpec<NestProblem> {
  return {
    name,
    bindings: [...reads(condition, 'condition'), ...reads('u32', 'a', 'b'), ...writes('u32', 'out')],
    params: operands.params,
    variants: [stridedVariant(whereSource, () => ({ NOT_ZERO: condition === 'f32' ? 0x7fffffff : 0xffffffff }))],
    flops: () => 0,
    bytes: ({ rows, inner }) => 16 * rows * inner,
  }
}

/** out = condition ? a : b over a shape, of any 4-byte type. The condition is float32 and true unless it is 0; NaN is true too. */
export const where = makeWhere('where', 'f32')
/** The same with an int32 condition. */
export const whereInt = makeWhere('whereInt', 'i32')
