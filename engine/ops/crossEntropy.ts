import * as kernels from '../../kernels/crossEntropy/index.ts'
import { rowMajor, sum } from '../../kernels/reduce/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkNoMore, checkWhole, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { INT32_MAX, INT32_MIN } from '../layout/dtype.ts'
import { format, sizeOf } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { runBinary } from '../tensor/pointwise.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { full } from './create.ts'
import { add, div, mul, sub } from './elementwise.ts'
import { sumInto } from './reduce.ts'
import { broadcastTo, reshape } from './shape.ts'
import { softmax } from './softmax.ts'

export interface CrossEntropyOptions {
  /** 'mean' (the default) averages the losses of all rows that count, 'sum' adds them up, 'none' returns them. */
  reduction?: 'mean' | 'sum' | 'none'
  /** The share of the target that is spread over all classes, in [0, 1] (Szegedy et al., arXiv 1512.00567); default 0. */
  labelSmoothing?: number
  /** The label of rows that have no loss and no gradient and do not count in the mean; by default there is none. */
  ignoreIndex?: number
}

const OPTIONS: OptionNames<CrossEntropyOptions> = { reduction: true, labelSmoothing: true, ignoreIndex: true }

interface Arguments {
  reduction: 'mean' | 'sum' | 'none'
  options: { smoothing?: number; ignored?: number }
  /** The number of sets of neighbouring rows, whose losses are reduced apart, to [sets]; undefined for one set, and the shape []. */
  sets?: number
}

const op = defineOp<[logits: Tensor, labels: Tensor], Arguments>({
  name: 'crossEntropy',
  forward(ctx, inputs, { reduction, options, sets }) {
    const logits = inputs[0].contiguous()
    const counts = reduction === 'mean' && options.ignored !== undefined
    const labels = counts ? inputs[1].contiguous() : withoutRepeats(inputs[1], 'front')
    const shape = logits.shape.slice(0, -1)
    const { device } = logits
    const losses = empty(shape, 'float32', device)
    const problem = { ...problemOf(logits, labels), ...options }
    const scale = reduction === 'mean' && !counts ? (sets ?? 1) / problem.rows : 1
    // The gradient of a total is known but for its cotangent, which is 1 where the total itself is differentiated.
    if (reduction !== 'none' && !counts && ctx.needs[0]) {
      const dlogits = empty(logits.shape, 'float32', device)
      run(kernels.crossEntropyGradient, { ...problem, scale }, [logits, labels, losses, dlogits])
      ctx.saveForBackward(logits, labels, dlogits, undefined)
      return totals(losses, sets, scale)
    }
    const statistics = empty([...shape, 2], 'float32', device) // [..., 2]: the row's maximum and sum of exponentials
    run(kernels.crossEntropy, problem, [logits, labels, losses, statistics])
    const count = counts ? countOf(labels, options.ignored!) : undefined
    ctx.saveForBackward(logits, labels, statistics, count)
    if (reduction === 'none') return losses
    const loss = totals(losses, sets, scale)
    if (!count) return loss
    const mean = empty([], 'float32', device)
    runBinary('div', loss, count, mean)
    return mean
  },
  backward(ctx, grad, { reduction, options }) {
    const [logits, labels, saved, count] = ctx.saved as [Tensor, Tensor, Tensor, Tensor?]
    if (reduction !== 'none' && !count) return [scaled(saved, grad, () => ctx.gradOut(0)), undefined]
    const problem = { ...problemOf(logits, labels), ...options }
    let gradient = withoutRepeats(grad, 'back')
    if (count) {
      gradient = empty([], 'float32', logits.device)
      runBinary('div', grad, count, gradient)
    }
    const dlogits = ctx.gradOut(0)
    const gradientRows = Math.max(1, problem.rows / Math.max(1, gradient.size))
    run(kernels.crossEntropyBackward, { ...problem, gradientRows, scale: 1 }, [logits, labels, saved, gradient, dlogits])
    return [dlogits, undefined]
  },
  differentiableBackward(ctx, grad, { reduction, options, sets = 1 }) {
    const [, labels, , count] = ctx.saved as [Tensor, Tensor, Tensor, Tensor?]
    const logits = ctx.input(0)
    const classes = logits.shape.at(-1)!
    // A gradient of each row or set lies along the first dims of the logits.
    const each = reshape(grad, [...grad.shape, ...logits.shape.slice(grad.ndim).fill(1)])
    const by = count ? div(each, count) : reduction === 'mean' ? mul(each, (sets * classes) / logits.size) : each
    // The target's part is constant, and is the gradient at equal logits: 1 / C minus the target.
    const minusTarget = noGrad(() => sub(targetGradient(labels, classes, options), 1 / classes))
    const counted = options.ignored === undefined ? undefined : countedRows(labels, options.ignored)
    const probabilities = softmax(logits, -1)
    const kept = counted ? mul(probabilities, reshape(counted, [...labels.shape, 1])) : probabilities
    const target = counted ? mul(minusTarget, reshape(counted, [...labels.shape, 1])) : minusTarget
    return [mul(add(kept, target), by), undefined]
  },
})

/** The sum of the losses of each set of rows, times `scale`: [sets], or without sets []. */
function totals(losses: Tensor, sets: number | undefined, scale: number): Tensor {
  const [outer, shape] = sets === undefined ? [1, []] : [sets, [sets]]
  const out = empty(shape, 'float32', losses.device)
  sumInto(out, view(losses, { shape: [outer, losses.size / outer], strides: [losses.size / outer, 1] }), 1, 2, scale)
  return out
}

/** Multiplies the gradient at a cotangent of 1 by the cotangent, [] or [sets]. @param out makes the result where the cotangent is not 1 */
function scaled(dlogits: Tensor, grad: Tensor, out: () => Tensor): Tensor {
  if (grad.allOnes) return dlogits
  const ofRows = dlogits.shape.slice(grad.ndim).map(() => [1, 0] as const)
  const shape = [...grad.shape, ...ofRows.map(([size]) => size)]
  const strides = [...grad.strides, ...ofRows.map(([, stride]) => stride)]
  const product = out()
  runBinary('mul', dlogits, view(grad, { shape, strides }), product)
  return product
}

/** The gradient of the losses at logits of 0, [..., C]: 1 / C minus the smoothed target. */
function targetGradient(labels: Tensor, classes: number, options: Arguments['options']): Tensor {
  const shape = [...labels.shape, classes]
  const logits = full(shape, 0, { device: labels.device })
  const statistics = empty([...labels.shape, 2], 'float32', labels.device)
  const losses = empty(labels.shape, 'float32', labels.device)
  const out = empty(shape, 'float32', labels.device)
  const problem = problemOf(logits, labels)
  run(kernels.crossEntropy, problem, [logits, labels, losses, statistics])
  const one = full([1], 1, { device: labels.device })
  const backward = { ...problem, ...options, gradientRows: Math.max(1, labels.size), scale: 1 }
  run(kernels.crossEntropyBackward, backward, [logits, labels, statistics, one, out])
  return out
}

/** By row whether it counts, 1 or 0 in float32. */
function countedRows(labels: Tensor, ignored: number): Tensor {
  const counted = empty(labels.shape, 'float32', labels.device)
  run(kernels.countedRows, { rows: labels.size, ignored }, [labels, counted])
  return counted
}

/** The number of rows that count, as a float32 []. */
function countOf(labels: Tensor, ignored: number): Tensor {
  const count = empty([], 'float32', labels.device)
  run(sum, { ...rowMajor(1, labels.size, 1), scale: 1 }, [countedRows(labels, ignored), count])
  return count
}

function problemOf(logits: Tensor, labels: Tensor) {
  const rows = sizeOf(logits.shape.slice(0, -1))
  return { rows, classes: logits.shape.at(-1)!, nan: kernels.NAN_BITS, labelRows: Math.max(1, labels.size) } as const
}

/** Leaves out dims at one end along which a tensor repeats, as one that was broadcast does. @returns a contiguous tensor */
function withoutRepeats(t: Tensor, end: 'front' | 'back'): Tensor {
  const isDistinct = (stride: number) => stride !== 0
  const first = t.strides.findIndex(isDistinct)
  const [from, to] = end === 'front' ? [first < 0 ? t.ndim : first, t.ndim] : [0, t.strides.findLastIndex(isDistinct) + 1]
  if (to - from === t.ndim) return t.contiguous()
  return view(t, { shape: t.shape.slice(from, to), strides: t.strides.slice(from, to) }).contiguous()
}

/**
 * The cross-entropy of softmax(logits) with class labels: logsumexp(logits) - logit of the label. With label smoothing s the target is 1 - s
 * of the label and s of all classes alike. A row with NaN or Infinity, or of -Infinity alone, has loss and gradient NaN; a label whose logit
 * is -Infinity has loss Infinity. The mean of no rows is NaN.
 * @param logits float32 [..., C]; inside `autocast` float16 too
 * @param labels int32 [...], each in [0, C); another label than `ignoreIndex` outside makes the row's loss and gradient NaN
 * @returns float32: the mean loss [], or with `reduction: 'none'` the loss of each row [...]
 * @throws ShapeError for other dtypes, shapes or reductions; ArgumentError for an unknown option, or one of another kind
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options?: CrossEntropyOptions, ...extra: []): Tensor {
  checkTensor('crossEntropy', logits, 'logits')
  checkTensor('crossEntropy', labels, 'labels')
  checkOptions('crossEntropy', options, OPTIONS)
  checkNoMore('crossEntropy', extra)
  const input = toFloat32(logits)
  const fits = input.ndim >= 1 && format(input.shape.slice(0, -1)) === format(labels.shape)
  if (input.dtype !== 'float32' || labels.dtype !== 'int32' || !fits) {
    throw mismatch('crossEntropy', [input, labels], 'logits float32 [..., C] and labels int32 [...]')
  }
  const { reduction = 'mean', labelSmoothing = 0, ignoreIndex } = options ?? {}
  if (reduction !== 'mean' && reduction !== 'sum' && reduction !== 'none') {
    throw new ShapeError(`crossEntropy: got reduction ${kindOf(reduction)}, takes 'mean', 'sum' or 'none'`)
  }
  if (!(typeof labelSmoothing === 'number' && labelSmoothing >= 0 && labelSmoothing <= 1))
    throw refusal('crossEntropy', labelSmoothing, 'a number from 0 to 1', 'labelSmoothing')
  if (ignoreIndex !== undefined) checkWhole('crossEntropy', ignoreIndex, 'ignoreIndex', INT32_MIN, INT32_MAX)
  const smoothing = labelSmoothing > 0 ? { smoothing: labelSmoothing } : {}
  const ignored = ignoreIndex === undefined ? {} : { ignored: ignoreIndex }
  return op([input, labels], { reduction, options: { ...smoothing, ...ignored } })
}

/**
 * The mean cross-entropy of each of m sets of logits with the same labels, as those of the prefixes of a model are.
 * @param logits float32 [m, ..., C]; inside `autocast` float16 too
 * @param labels int32 [...], as `crossEntropy` takes them
 * @returns float32 [m]
 * @throws ShapeError for other dtypes or shapes
 */
export function crossEntropies(logits: Tensor, labels: Tensor, ...extra: []): Tensor {
  checkTensor('crossEntropies', logits, 'logits')
  checkTensor('crossEntropies', labels, 'labels')
  checkNoMore('crossEntropies', extra)
  const input = toFloat32(logits)
  const fits = input.ndim >= 2 && format(input.shape.slice(1, -1)) === format(labels.shape)
  if (input.dtype !== 'float32' || labels.dtype !== 'int32' || !fits) {
    throw mismatch('crossEntropies', [input, labels], 'logits float32 [m, ..., C] and labels int32 [...]')
  }
  const sets = input.shape[0]!
  return op([input, broadcastTo(labels, [sets, ...labels.shape])], { reduction: 'mean', options: {}, sets })
}
