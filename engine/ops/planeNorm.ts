// batchNorm and groupNorm share the launches, off the tape, and the gradients by other ops.
import * as kernels from '../../kernels/planeNorm/index.ts'
import type { DifferentiableContext, OpContext } from '../autograd/tape.ts'
import type { Shape } from '../layout/shape.ts'
import { type Bindable, run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { add, div, mul, sqrt, sub } from './elementwise.ts'
import { mean, sumInto } from './reduce.ts'
import { reshape, sumTo } from './shape.ts'

/** The running statistics of batchNorm: [C] each. */
export interface Running {
  mean: Tensor
  variance: Tensor
}

/** The statistics [rows, 4] of the rows of x, which is contiguous. Running ones, which are too, are moved towards them. */
export function statisticsOf(x: Tensor, problem: kernels.PlaneNorm, running: Running | undefined): Tensor {
  const { device } = x
  const moments = empty([problem.planes, 2], 'float32', device)
  const statistics = empty([problem.rows, 4], 'float32', device)
  run(kernels.planeMoments, problem, [x, moments])
  const unused = () => empty([1], 'float32', device)
  const moved: Bindable[] = running ? [running.mean, running.variance] : [unused(), unused()]
  run(kernels.rowStatistics, { ...problem, running: !!running }, [x, moments, statistics, ...moved])
  return statistics
}

/** The statistics [rows, 4] that running ones are. */
export function fixedStatistics({ mean, variance }: Running, problem: kernels.PlaneNorm): Tensor {
  const statistics = empty([problem.rows, 4], 'float32', mean.device)
  run(kernels.runningStatistics, problem, [mean.contiguous(), variance.contiguous(), statistics])
  return statistics
}

/** Normalizes x, which is contiguous, and saves what the gradients need. */
export function normalize(
  ctx: OpContext,
  [x, weight, bias]: readonly [x: Tensor, weight: Tensor, bias: Tensor],
  statistics: Tensor,
  problem: kernels.PlaneNorm,
): Tensor {
  const y = empty(x.shape, 'float32', x.device)
  const scale = weight.contiguous()
  run(kernels.planeNormalize, problem, [x, statistics, scale, bias.contiguous(), y])
  ctx.saveForBackward(ctx.needs[0] || ctx.needs[1] ? x : undefined, ctx.needs[0] ? scale : undefined, statistics)
  return y
}

/** The gradients of x, weight and bias from what `normalize` saved. `fixed` says that the statistics are constants. */
export function gradients(ctx: OpContext, grad: Tensor, problem: kernels.PlaneNorm, fixed: boolean): (Tensor | undefined)[] {
  const [x, weight, statistics] = ctx.saved as [Tensor | undefined, Tensor | undefined, Tensor]
  const { device } = grad
  const dy = grad.contiguous()
  const { planes, channels } = problem
  const sums = empty([planes, 2], 'float32', device) // the sums over planes of dy, and of dy times the normalized x
  // The kernel reads x only for the gradients of x and weight; without those, dy stands in for it.
  if (!fixed || ctx.needs[1] || ctx.needs[2]) run(kernels.planeGradientSums, problem, [x ?? dy, statistics, dy, sums])
  const [, dweight, dbias] = [1, 1, 0].map((k, i) => {
    if (i === 0 || !ctx.needs[i]) return undefined
    const out = ctx.gradOut(i)
    sumInto(out, view(sums, { shape: [planes / channels, channels], strides: [2 * channels, 2], offset: k }), 0, 1)
    return out
  })
  if (!ctx.needs[0]) return [undefined, dweight, dbias]
  const means = empty(fixed ? [1] : [problem.rows, 2], 'float32', device)
  if (!fixed) run(kernels.rowGradientMeans, problem, [sums, weight!, means])
  const dx = ctx.gradOut(0)
  run(kernels.planeInputGradient, { ...problem, fixed }, [x!, statistics, weight!, means, dy, dx])
  return [dx, dweight, dbias]
}

/** How the gradients are composed of other ops. */
interface Composed {
  /** The shape in which `dims` are the dims of a row of statistics, and the dim of the channels. */
  shape: Shape
  dims: readonly number[]
  channels: Shape
  eps: number
  /** Whether the saved statistics are constants. */
  fixed: boolean
}

/** The gradients of x, weight and bias by ops on the tape. */
export function differentiableGradients(
  ctx: DifferentiableContext,
  grad: Tensor,
  { shape, dims, channels, eps, fixed }: Composed,
): (Tensor | undefined)[] {
  const x = ctx.input(0)
  const all = reshape(x, shape)
  const along = (t: Tensor) => reshape(t, channels)
  const constant = (k: number) =>
    view(ctx.saved[2]!, { shape: channels, strides: channels.map((n) => (n > 1 ? 4 : 0)), offset: k })
  const centered = sub(all, fixed ? constant(0) : mean(all, dims, true))
  const rstd = fixed ? constant(2) : div(1, sqrt(add(mean(mul(centered, centered), dims, true), eps)))
  const normal = mul(centered, rstd)
  const dy = reshape(grad, shape)
  const sumOf = (t: Tensor) => {
    const total = sumTo(t, channels)
    return reshape(total, [total.size])
  }
  let dx: Tensor | undefined
  if (ctx.needs[0]) {
    const scaled = mul(dy, along(ctx.input(1)))
    const rest = fixed ? scaled : sub(sub(scaled, mean(scaled, dims, true)), mul(normal, mean(mul(scaled, normal), dims, true)))
    dx = reshape(mul(rstd, rest), x.shape)
  }
  return [dx, ctx.needs[1] ? sumOf(mul(dy, normal)) : undefined, ctx.needs[2] ? sumOf(dy) : undefined]
}
