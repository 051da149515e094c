import * as kernels from '../../kernels/losses/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { type DifferentiableContext, defineOp } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { format } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { add, exp, log, mul, neg, sigmoid, sub } from './elementwise.ts'
import { sumInto } from './reduce.ts'

export interface LossOptions {
  /** 'mean' (the default) averages the losses of all elements, 'sum' adds them up, 'none' returns them. */
  reduction?: 'mean' | 'sum' | 'none'
}

export interface KlDivOptions {
  /** 'mean' (the default) averages all elements, 'batchMean' divides their sum by the first dim, 'sum' adds them up, 'none' returns them. */
  reduction?: 'mean' | 'batchMean' | 'sum' | 'none'
  /** Whether targets are logarithms of probabilities; default false. */
  logTarget?: boolean
}

const OPTIONS: OptionNames<LossOptions> = { reduction: true }
const KL_OPTIONS: OptionNames<KlDivOptions> = { reduction: true, logTarget: true }

interface Arguments {
  kind: kernels.LossKind
  /** The factor of the sum of all terms; undefined where the terms are the result. */
  scale: number | undefined
}

const defineLoss = (name: string) =>
  defineOp<[x: Tensor, targets: Tensor], Arguments>({
    name,
    forward(ctx, inputs, { kind, scale }) {
      const [x, targets] = inputs.map((t) => t.contiguous()) as [Tensor, Tensor]
      const terms = empty(x.shape, 'float32', x.device)
      run(kernels.loss, { kind, count: x.size }, [x, targets, terms])
      ctx.saveForBackward(x, targets)
      if (scale === undefined) return terms
      const loss = empty([], 'float32', x.device)
      sumInto(loss, terms, 0, terms.ndim, scale)
      return loss
    },
    backward(ctx, grad, { kind, scale }) {
      const [x, targets] = ctx.saved as [Tensor, Tensor]
      const gradientStride = scale === undefined ? 1 : 0
      const problem = { kind, count: x.size, gradientStride, scale: scale ?? 1 } as const
      const gradient = grad.contiguous()
      return [0, 1].map((i) => {
        if (!ctx.needs[i]) return undefined
        const out = ctx.gradOut(i)
        run(kernels.lossBackward, { ...problem, targets: i === 1 }, [x, targets, gradient, out])
        return out
      })
    },
    differentiableBackward(ctx, grad, { kind, scale }) {
      const by = scale === undefined ? grad : mul(grad, scale)
      return [0, 1].map((i) => (ctx.needs[i] ? mul(SLOPES[kind][i]!(ctx), by) : undefined))
    },
  })

const OPS = { mseLoss: defineLoss('mseLoss'), bceWithLogits: defineLoss('bceWithLogits'), klDiv: defineLoss('klDiv') }

/** The derivatives of terms by x and by targets, on the tape. */
const SLOPES: Record<kernels.LossKind, readonly ((ctx: DifferentiableContext) => Tensor)[]> = {
  mse: [(ctx) => mul(sub(ctx.input(0), ctx.input(1)), 2), (ctx) => mul(sub(ctx.input(1), ctx.input(0)), 2)],
  bceWithLogits: [(ctx) => sub(sigmoid(ctx.input(0)), ctx.input(1)), (ctx) => neg(ctx.input(0))],
  klDiv: [(ctx) => neg(ctx.input(1)), (ctx) => sub(add(log(ctx.input(1)), 1), ctx.input(0))],
  klDivLog: [(ctx) => neg(exp(ctx.input(1))), (ctx) => mul(exp(ctx.input(1)), add(sub(ctx.input(1), ctx.input(0)), 1))],
}

/** Makes a loss of tensors of one shape. */
function lossOf(
  name: keyof typeof OPS,
  kind: kernels.LossKind,
  x: Tensor,
  targets: Tensor,
  reduction: string,
  reductions: readonly string[],
): Tensor {
  const [input, goal] = [toFloat32(x), toFloat32(targets)]
  if (input.dtype !== 'float32' || goal.dtype !== 'float32' || format(input.shape) !== format(goal.shape)) {
    throw mismatch(name, [input, goal], 'two of float32 and one shape')
  }
  if (!reductions.includes(reduction)) {
    const takes = reductions.map((known) => `'${known}'`).join(', ')
    throw new ShapeError(`${name}: got reduction ${kindOf(reduction)}, takes one of ${takes}`)
  }
  const scales: Record<string, number | undefined> = {
    mean: 1 / input.size,
    sum: 1,
    batchMean: 1 / (input.shape[0] ?? 1),
  }
  return OPS[name]([input, goal], { kind, scale: scales[reduction] })
}

function checkArguments(name: string, x: Tensor, targets: Tensor, extra: []): void {
  checkTensor(name, x)
  checkTensor(name, targets, 'targets')
  checkNoMore(name, extra)
}

const REDUCTIONS = ['mean', 'sum', 'none']

/**
 * The mean of (x - targets)^2. Both get gradients.
 * @param x float32, any shape; inside `autocast` float16 too
 * @param targets of the shape and dtype of x
 * @returns float32 [], or with `reduction: 'none'` of the shape of x
 * @throws ShapeError for other dtypes, shapes or reductions; ArgumentError for an unknown option
 */
export function mseLoss(x: Tensor, targets: Tensor, options?: LossOptions, ...extra: []): Tensor {
  checkOptions('mseLoss', options, OPTIONS)
  checkArguments('mseLoss', x, targets, extra)
  return lossOf('mseLoss', 'mse', x, targets, options?.reduction ?? 'mean', REDUCTIONS)
}

/**
 * The mean cross-entropy of sigmoid(x) with the probabilities `targets`, computed from the logits so that large ones lose no digits:
 * (1 - target) x + max(-x, 0) + log(1 + exp(-|x|)). Both get gradients.
 * @param x float32, any shape; inside `autocast` float16 too
 * @param targets of the shape and dtype of x, from 0 to 1
 * @returns float32 [], or with `reduction: 'none'` of the shape of x
 * @throws ShapeError for other dtypes, shapes or reductions; ArgumentError for an unknown option
 */
export function bceWithLogits(x: Tensor, targets: Tensor, options?: LossOptions, ...extra: []): Tensor {
  checkOptions('bceWithLogits', options, OPTIONS)
  checkArguments('bceWithLogits', x, targets, extra)
  return lossOf('bceWithLogits', 'bceWithLogits', x, targets, options?.reduction ?? 'mean', REDUCTIONS)
}

/**
 * The divergence of Kullback and Leibler of x from targets, the mean of target (log(target) - x), as in PyTorch; a target of 0 has loss 0.
 * `reduction: 'batchMean'` gives the divergence by its definition. Both get gradients.
 * @param x logarithms of probabilities, float32, any shape; inside `autocast` float16 too
 * @param targets probabilities, or with `logTarget` their logarithms, of the shape and dtype of x
 * @returns float32 [], or with `reduction: 'none'` of the shape of x
 * @throws ShapeError for other dtypes, shapes or reductions; ArgumentError for an unknown option
 */
export function klDiv(x: Tensor, targets: Tensor, options?: KlDivOptions, ...extra: []): Tensor {
  checkOptions('klDiv', options, KL_OPTIONS)
  checkArguments('klDiv', x, targets, extra)
  const { reduction = 'mean', logTarget = false } = options ?? {}
  checkBoolean('klDiv', logTarget, 'logTarget')
  return lossOf('klDiv', logTarget ? 'klDivLog' : 'klDiv', x, targets, reduction, [...REDUCTIONS, 'batchMean'])
}
