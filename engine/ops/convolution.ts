// The launches of a convolution and of its gradients, off the tape.
import * as kernels from '../../kernels/conv2d/index.ts'
import { rowMajor, sum } from '../../kernels/reduce/index.ts'
import { castDetached } from '../autograd/cast.ts'
import { copyInto } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

/** The most elements of partial sums. */
const MAX_PARTIALS = 1 << 23

/** Writes the convolution of x and weight, plus bias, into `out`, which is contiguous. */
export function convolve(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | undefined, conv: kernels.Convolution): void {
  const [image, filter] = [operand(x), operand(weight)]
  const problem = kernels.forwardProblem(conv, image.layout, filter.layout)
  launch([problem], out, filter.bound, image.bound, bias && castDetached(bias, 'float32').contiguous())
}

/** Writes the gradient of x into `dx`, which is contiguous. */
export function convolveBack(dx: Tensor, weight: Tensor, grad: Tensor, conv: kernels.Convolution): void {
  const [dy, filter] = [operand(grad), operand(weight)]
  launch(kernels.inputGradientProblems(conv, filter.layout, dy.layout), dx, filter.bound, dy.bound)
}

/** Writes the gradient of weight into `dweight`, which is contiguous. */
export function correlate(dweight: Tensor, x: Tensor, grad: Tensor, conv: kernels.Convolution): void {
  const [image, dy] = [operand(x), operand(grad)]
  launch([kernels.weightGradientProblem(conv, image.layout, dy.layout)], dweight, dy.bound, image.bound)
}

type Bound = ReturnType<typeof operand>['bound']

/** Runs problems that write the parts of one result, and adds up the sums of parts of their depth where it is cut. */
function launch(problems: readonly kernels.Problem[], out: Tensor, a: Bound, x: Bound, bias?: Tensor): void {
  const { device, size } = out
  const cuts = problems.map((problem) => kernels.splitDepth(device.capabilities, problem))
  // All problems write partial sums of one result, so they are cut into as many parts.
  const most = Math.max(1, Math.floor(MAX_PARTIALS / size))
  const splits = Math.min(most, ...cuts.map((cut) => cut.splits))
  const half = { a: a.dtype, x: x.dtype, c: out.dtype }
  const names = (Object.keys(half) as (keyof typeof half)[]).filter((name) => half[name] === 'float16')
  const dtypes = names.length > 0 ? { dtypes: Object.fromEntries(names.map((name) => [name, 'f16' as const])) } : {}
  const target = splits > 1 ? empty([splits, ...out.shape], 'float32', device) : out
  const added = bias ?? empty([1], 'float32', device)
  for (const problem of problems) {
    const chunk = splits > 1 ? 64 * Math.ceil(problem.depth / (64 * splits)) : Math.max(problem.depth, 1)
    const whole: kernels.Conv2d = { ...problem, splits, chunk, cSplit: size, biased: bias ? 1 : 0, ...dtypes }
    run(kernels.conv2d, whole, [a, x, added, target])
  }
  if (splits === 1) return
  const total = out.dtype === 'float32' ? out : empty(out.shape, 'float32', device)
  run(sum, { ...rowMajor(1, splits, size), scale: 1 }, [target, total])
  if (total !== out) copyInto(total, out)
}
