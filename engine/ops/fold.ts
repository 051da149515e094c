// This file has the parts that reductions by the kernel `fold` share.
import * as kernels from '../../kernels/fold/index.ts'
import { withChunk } from '../../kernels/reduce/index.ts'
import { castDetached } from '../autograd/cast.ts'
import type { DifferentiableContext } from '../autograd/definition.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkBoolean } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { isFloat, scalarOf } from '../layout/dtype.ts'
import { normalizeDim, type Shape, sizeOf } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { type ReduceDims, reduceDimsOf, reductionOf } from './reduceDims.ts'
import { permute, reshape } from './shape.ts'

export interface FoldArguments {
  pass: ReduceDims
  /** The factor of the sum of squared deviations; for other reductions 1. */
  scale: number
  degenerate: boolean
}

/** The results of a pass, and what gradients need besides, both float32, or int32 for truth values and integers. */
function foldPass(x: Tensor, result: kernels.FoldResult, pass: ReduceDims): { values: Tensor; extras: Tensor } {
  const { reduction, input } = reductionOf(x, pass.start, pass.end)
  const dtype = kernels.foldScalar(result) === 'i32' ? 'int32' : 'float32'
  const final = (): [Tensor, Tensor] => [
    empty(pass.shape, dtype, x.device),
    empty(kernels.hasExtras(result) ? pass.shape : [1], dtype, x.device),
  ]
  const partial = { ...result, flags: result.flags | kernels.FOLD_FLAGS.partial }
  const split = withChunk(reduction, kernels.foldChunk(x.device.capabilities, reduction))
  const { outer, n, inner } = split
  let { chunk, chunks } = split
  const states = (): [Tensor, Tensor] => {
    const make = () => empty([outer * chunks * inner], dtype, x.device)
    return [make(), make()]
  }
  let made = chunks === 1 ? final() : states()
  run(kernels.fold, { ...split, ...(chunks === 1 ? result : partial) }, [input, ...made])
  while (chunks > 1) {
    const pieces = made
    const group = Math.min(chunks, kernels.MOST_PIECES)
    const problem = { outer, n, inner, chunk, chunks, group }
    chunks = Math.ceil(chunks / group)
    chunk *= group
    made = chunks === 1 ? final() : states()
    run(kernels.foldCombine, { ...(chunks === 1 ? result : partial), ...problem }, [...pieces, ...made])
  }
  return { values: made[0], extras: made[1] }
}

type Derivative = (ctx: DifferentiableContext, grad: Tensor, args: FoldArguments) => Tensor

/**
 * Defines a reduction over neighbouring dims. `root` tells whether the root of a variance is taken; `derivative` computes the gradient by ops on
 * the tape, from the gradient with its reduced dims kept.
 */
export function defineFold(
  name: string,
  op: kernels.FoldOp,
  { root = false, derivative }: { root?: boolean; derivative?: Derivative },
) {
  return defineOp<[Tensor], FoldArguments>({
    name,
    forward(ctx, [x], { pass, scale, degenerate }) {
      const dtype = x.dtype === 'int32' ? 'i32' : scalarOf(x.dtype)
      const { FOLD_FLAGS: bits } = kernels
      const flags = (root ? bits.root : 0) + (degenerate ? bits.degenerate : 0)
      const { values, extras } = foldPass(x, { op, dtype, scale, flags }, pass)
      if (op === 'any' || op === 'all' || x.dtype === 'int32') return values
      const out = castDetached(values, x.dtype)
      ctx.saveForBackward(x, out, kernels.hasExtras({ op }) ? extras : undefined, out === values ? undefined : values)
      return out
    },
    ...(op !== 'any' &&
      op !== 'all' && {
        backward(ctx, grad, { pass, scale }) {
          const [x, out, extras, values = out] = ctx.saved as [Tensor, Tensor, Tensor?, Tensor?]
          const { from, start, end } = pass
          const [outer, n, inner] = [from.slice(0, start), from.slice(start, end), from.slice(end)].map(sizeOf)
          const dx = ctx.gradOut(0)
          const target = dx.dtype === 'float32' ? dx : empty(dx.shape, 'float32', dx.device)
          const problem = { outer: outer!, n: n!, inner: inner!, op, scale: root ? scale : 2 * scale, root: root ? 1 : 0 }
          const [input, cotangent] = [x, grad].map((t) => castDetached(t, 'float32').contiguous()) as [Tensor, Tensor]
          run(kernels.foldBackward, problem, [input, values, extras ?? values, cotangent, target])
          if (target !== dx) copyInto(target, dx)
          return [dx]
        },
      }),
    ...(derivative && {
      differentiableBackward: (ctx, grad, args) => [derivative(ctx, reshape(grad, keptShape(args.pass)), args)],
    }),
  })
}

/** The shape of the results of a pass with its reduced dims as dims of size 1. */
export function keptShape({ from, start, end }: ReduceDims): Shape {
  return from.map((size, d) => (d >= start && d < end ? 1 : size))
}

/** Reduces dims by an op over neighbouring dims. Dims that are no neighbours are made so by a permutation. */
export function foldDims(
  name: string,
  x: Tensor,
  dims: number | readonly number[] | undefined,
  keepdim: boolean,
  op: (x: Tensor, pass: ReduceDims) => Tensor,
): Tensor {
  const passes = reduceDimsOf(name, x.shape, dims, keepdim)
  if (passes.length === 1) return op(x, passes[0]!)
  const reduced = new Set([dims!].flat().map((dim) => normalizeDim(name, dim, x.ndim)))
  const order = x.shape.map((_, d) => d)
  const kept = order.filter((d) => !reduced.has(d))
  const moved = permute(x, [...kept, ...order.filter((d) => reduced.has(d))])
  const shape = kept.map((d) => x.shape[d]!)
  const result = op(moved, { from: moved.shape, start: kept.length, end: x.ndim, shape })
  return keepdim ? reshape(result, passes.at(-1)!.shape) : result
}

export interface KeepdimOptions {
  /** Whether reduced dims stay, with size 1; default false. */
  keepdim?: boolean
}

const OPTIONS: OptionNames<KeepdimOptions> = { keepdim: true }

/** Whether reduced dims stay: the last argument of reductions is that, or an object of options. */
export function keepdimOf(op: string, last: boolean | KeepdimOptions | undefined): boolean {
  if (typeof last === 'boolean' || last === undefined) return last ?? false
  if (typeof last !== 'object' || last === null) checkBoolean(op, last, 'keepdim')
  checkOptions(op, last, OPTIONS)
  const { keepdim = false } = last
  checkBoolean(op, keepdim, 'keepdim')
  return keepdim
}

/** @throws ArgumentError unless x is a live tensor; ShapeError for int32 */
export function checkFloats(op: string, x: Tensor): void {
  checkTensor(op, x)
  if (!isFloat(x.dtype)) throw new ShapeError(`${op}: got ${x.dtype}, takes float32 or float16`)
}
